import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { badRangesMax, type ReadOptions, readBadRanges } from '../../../src/cli/bad-sectors/read-formats.ts';
import { badness, type SectorRun, type SectorTable } from '../../../src/cli/bad-sectors/sector-table.ts';
import { badblocksList, ddrescueMapfile, dmsetupTable } from '../../../src/cli/bad-sectors/write-formats.ts';
import { SetupError } from '../../../src/device/setup-error.ts';

const deviceSectors = 4096;

function run(
  sector: number,
  sectorCount: number,
  place: SectorRun['place'],
  spareSector?: number,
): SectorRun {
  return { sector, sectorCount, place, spareSector: spareSector ?? null, cause: null, flags: [] };
}

function tableOf(...runs: readonly SectorRun[]): SectorTable {
  return {
    name: 'disk',
    uuid: '6f1c3b52-6a5e-4b4e-9d9b-0d6f6a5b7c11',
    sizeBytes: deviceSectors * 512,
    logicalBlockBytes: 512,
    granuleBytes: 4096,
    mainPath: '/dev/main disk',
    sparePath: '/dev/spare',
    runs,
  };
}

const example = tableOf(
  run(0, 1, 'unreadable'),
  run(8, 16, 'remapped', 2000),
  run(24, 1, 'gone'),
  run(100, 2, 'suspect'),
  run(4088, 8, 'fresh-zero'),
);

const options: ReadOptions = { path: 'list', format: undefined, blockBytes: 1024, deviceSectors };

/** The sectors of ranges, one by one. */
function sectorsOf(ranges: readonly { sector: number; sectorCount: number }[]): number[] {
  return ranges.flatMap(({ sector, sectorCount }) =>
    Array.from({ length: sectorCount }, (_, at) => sector + at),
  );
}

const anyTable = fc
  .uniqueArray(fc.integer({ min: 0, max: deviceSectors - 1 }), { maxLength: 40 })
  .chain((sectors) =>
    fc.tuple(
      ...sectors
        .toSorted((a, b) => a - b)
        .map((sector) =>
          fc
            .constantFrom(
              'remapped' as const,
              'unreadable' as const,
              'suspect' as const,
              'gone' as const,
              'fresh-zero' as const,
            )
            .map((place) => run(sector, 1, place, place === 'remapped' ? sector * 2 : undefined)),
        ),
    ),
  )
  .map((runs) => tableOf(...runs));

describe('lists of bad sectors', () => {
  it('a mapfile covers the whole device in pieces that touch', () => {
    assert.deepEqual(ddrescueMapfile(example, 'device', '0.1.0').split('\n').slice(2), [
      '0x00000000     +               1',
      '#      pos        size  status',
      '0x00000000  0x00000200  -',
      '0x00000200  0x00002E00  +',
      '0x00003000  0x00000200  -',
      '0x00003200  0x00009600  +',
      '0x0000C800  0x00000400  *',
      '0x0000CC00  0x001F3400  +',
    ]);
    assert.match(ddrescueMapfile(example, 'main', '0.1.0'), /0x00001000 {2}0x00002200 {2}-\n/);
    fc.assert(
      fc.property(anyTable, fc.constantFrom('device' as const, 'main' as const), (table, of) => {
        let at = 0;
        for (const line of ddrescueMapfile(table, of, '0').split('\n').slice(4)) {
          const [position, size] = line.split(/\s+/).map(Number);
          assert.equal(position, at);
          at += size!;
        }
        assert.equal(at, table.sizeBytes);
      }),
    );
  });

  it('badblocks numbers each block once, ascending, with the first and the last sector of it', () => {
    assert.deepEqual([...badblocksList(example, 'device', 4096)], ['0', '3', '12']);
    assert.deepEqual([...badblocksList(example, 'main', 4096)], ['0', '1', '2', '3', '12', '511']);
    assert.deepEqual([...badblocksList(example, 'device', 512)], ['0', '24', '100', '101']);
  });

  it('the dmsetup table covers the device once, in order, with what each sector is', () => {
    assert.deepEqual(dmsetupTable(example).split('\n'), [
      '0 1 error',
      '1 7 linear /dev/main\\ disk 1',
      '8 16 linear /dev/spare 2000',
      '24 1 error',
      '25 4063 linear /dev/main\\ disk 25',
      '4088 8 zero',
    ]);
    fc.assert(
      fc.property(anyTable, (table) => {
        let at = 0;
        for (const line of dmsetupTable(table).split('\n')) {
          const [start, length] = line.split(' ').map(Number);
          assert.equal(start, at);
          assert.ok(length! > 0);
          at += length!;
        }
        assert.equal(at, deviceSectors);
      }),
    );
  });

  it('what was exported is what is imported, by every format', () => {
    fc.assert(
      fc.property(anyTable, fc.constantFrom('device' as const, 'main' as const), (table, of) => {
        const bad = sectorsOf(table.runs.filter((one) => badness(one, of) !== 'good'));
        assert.deepEqual(sectorsOf(readBadRanges(ddrescueMapfile(table, of, '0'), options)), bad);
        const numbers = [...badblocksList(table, of, 512)].join('\n');
        assert.deepEqual(sectorsOf(readBadRanges(numbers, { ...options, blockBytes: 512 })), bad);
        const json = JSON.stringify({ entries: table.runs });
        assert.deepEqual(sectorsOf(readBadRanges(json, options)), sectorsOf(table.runs));
      }),
    );
  });

  it('a mapfile of a rescue under way is read: its line of state, decimal numbers, untried and trimmed blocks', () => {
    const mapfile =
      '# Mapfile. Created by GNU ddrescue version 1.27\n0x1000 * 2\n0x0 0x1000 +\n4096 512 *\n0x1200 0x200 /\n0x1400 0x100 -\n0x1500 0x1000 ?\n';
    assert.deepEqual(readBadRanges(mapfile, options), [{ sector: 8, sectorCount: 3 }]);
  });

  it('an empty list has no sectors', () => {
    for (const text of ['', '\n\n', '# nothing\n', '{ "entries": [] }'])
      assert.deepEqual(readBadRanges(text, options), []);
  });

  it('a list that is wrong is refused, with the line and what was expected', () => {
    const cases: [string, RegExp, Partial<ReadOptions>?][] = [
      ['12\nbad\n', /^list: line 2: "bad": expected the number of a block of 1024 bytes$/],
      ['-1\n', /line 1: "-1"/],
      ['99999999999999999\n', /line 1/],
      ['2048\n', /^list: sector 4097: expected less than 4096, the device's sectors$/],
      ['0x0 + 1\n0x0 0x200\n', /line 2: "0x0 0x200": expected POSITION SIZE STATUS/],
      ['0x0 + 1\n0x0 0x200 x\n', /line 2/],
      ['0x0 + 1\n0x0 0xfffffffffffffff -\n', /line 2/],
      ['{', /^list: .*expected \{ "entries"/],
      ['{ "entries": [{ "sector": -1, "sectorCount": 1 }] }', /other JSON/],
      ['{ "entries": [{ "sector": 1, "sectorCount": 0 }] }', /other JSON/],
      ['{ "entries": [{ "sector": 1.5, "sectorCount": 1 }] }', /other JSON/],
      ['[]', /other JSON/, { format: 'json' }],
      ['0x0 0x200 -\n', /line 1/, { format: 'badblocks' }],
    ];
    for (const [text, message, more] of cases) {
      assert.throws(
        () => readBadRanges(text, { ...options, ...more }),
        (error) => error instanceof SetupError && error.reason === 'usage' && message.test(error.message),
        text,
      );
    }
  });

  it('so many ranges as there may be are taken, one more is refused', () => {
    const numbers = (count: number): string => Array.from({ length: count }, (_, at) => at * 2).join('\n');
    const large = { ...options, blockBytes: 512, deviceSectors: 4 * badRangesMax };
    assert.equal(readBadRanges(numbers(badRangesMax), large).length, badRangesMax);
    assert.throws(
      () => readBadRanges(numbers(badRangesMax + 1), large),
      /65537 ranges: expected at most 65536/,
    );
  });
});
