import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { TargetRegistry } from '../../src/mapping/registry.ts';
import {
  escapeWord,
  formatTable,
  parseTable,
  type TableSegment,
  tableLineLengthMax,
  tableSectorsMax,
  tableSegmentsMax,
} from '../../src/mapping/table-syntax.ts';
import type { TargetType } from '../../src/mapping/target.ts';
import { TargetError, type TargetErrorCode } from '../../src/mapping/target-error.ts';

function targetType(name: string, usage: string, least: number, most: number): TargetType {
  return {
    name,
    usage,
    argumentCountMin: least,
    argumentCountMax: most,
    ctr: () => Promise.reject(new Error('tables are only read here')),
  };
}

const registry = new TargetRegistry([
  targetType('linear', 'DEVICE OFFSET', 2, 2),
  targetType('error', '', 0, 0),
  targetType('many', '[ARG…]', 0, 5),
]);

function refusalOf(text: string): TargetError {
  try {
    parseTable(text, registry);
  } catch (error) {
    assert.ok(error instanceof TargetError, String(error));
    assert.ok(!error.message.includes('\n'), 'one line');
    return error;
  }
  return assert.fail(`accepted: ${text}`);
}

const word = fc.string({ minLength: 1, maxLength: 12 }).filter((text) => !text.includes('\n'));
const wordsByTarget: Readonly<Record<string, fc.Arbitrary<string[]>>> = {
  linear: fc.array(word, { minLength: 2, maxLength: 2 }),
  error: fc.constant([]),
  many: fc.array(word, { maxLength: 5 }),
};
const piece = fc.constantFrom('linear', 'error', 'many').chain((target) =>
  fc.tuple(
    fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 2 ** 38 })),
    wordsByTarget[target]!.map((words) => ({ target, words })),
  ),
);

/** Any valid table. */
const table: fc.Arbitrary<TableSegment[]> = fc.array(piece, { minLength: 1, maxLength: 20 }).map((pieces) => {
  let startSector = 0;
  return pieces.map(([sectorCount, { target, words }]) => {
    const segment = { startSector, sectorCount, target, words };
    startSector += sectorCount;
    return segment;
  });
});

describe('parseTable', () => {
  it('reads back every table that formatTable prints', () => {
    fc.assert(
      fc.property(table, (segments) =>
        assert.deepEqual(parseTable(formatTable(segments), registry), segments),
      ),
    );
  });

  it('reads lines as dmsetup does: comments, blank lines, any white space, escaped blanks', () => {
    const text =
      '# a disk\r\n\n  0 8   linear /dev/a\\ b 16\r\n\t8\t4\terror\n   # the end\n12 1 many \\\\ \\#';
    assert.deepEqual(parseTable(text, registry), [
      { startSector: 0, sectorCount: 8, target: 'linear', words: ['/dev/a b', '16'] },
      { startSector: 8, sectorCount: 4, target: 'error', words: [] },
      { startSector: 12, sectorCount: 1, target: 'many', words: ['\\', '#'] },
    ]);
  });

  it('refuses each mistake with a code and one line that says what was expected', () => {
    const cases: readonly (readonly [string, TargetErrorCode, RegExp])[] = [
      ['', 'TABLE_EMPTY', /empty, expected lines of START LENGTH TARGET ARGS/],
      ['# nothing\n\n', 'TABLE_EMPTY', /empty/],
      ['0 8', 'TABLE_SYNTAX', /table line 1: has 2 words, expected START LENGTH TARGET ARGS/],
      ['0 8 many \\', 'TABLE_SYNTAX', /ends with a backslash/],
      ['x 8 error', 'TABLE_NUMBER', /START is x, expected a number of 512-byte sectors/],
      ['0 -8 error', 'TABLE_NUMBER', /LENGTH is -8/],
      ['0 8.5 error', 'TABLE_NUMBER', /LENGTH is 8\.5/],
      ['0 0x10 error', 'TABLE_NUMBER', /LENGTH is 0x10/],
      ['0 1e3 error', 'TABLE_NUMBER', /LENGTH is 1e3/],
      ['4 8 error', 'TABLE_START', /starts at sector 4, the first segment starts at 0/],
      ['0 8 error\n9 1 error', 'TABLE_GAP', /line 2: starts at sector 9, which leaves a gap, expected 8/],
      ['0 8 error\n7 1 error', 'TABLE_OVERLAP', /line 2: starts at sector 7, which overlaps.*expected 8/],
      ['0 8 error\n0 8 error', 'TABLE_OVERLAP', /expected 8/],
      ['0 0 error', 'TABLE_ZERO_LENGTH', /LENGTH is 0/],
      ['0 8 thing', 'TABLE_UNKNOWN_TARGET', /unknown target thing, expected one of linear, error, many/],
      ['0 8 linear /dev/a', 'TABLE_ARGUMENT_COUNT', /1 arguments, expected linear DEVICE OFFSET/],
      ['0 8 error 1', 'TABLE_ARGUMENT_COUNT', /1 arguments, expected error$/],
    ];
    for (const [text, code, message] of cases) {
      const error = refusalOf(text);
      assert.equal(error.code, code, text);
      assert.match(error.message, message);
    }
  });

  it('counts exactly up to 2^53 - 1 bytes, and refuses one sector more', () => {
    const whole = parseTable(`0 ${tableSectorsMax} error`, registry);
    assert.equal(whole[0]!.sectorCount, tableSectorsMax);
    assert.ok(Number.isSafeInteger(tableSectorsMax * 512));
    assert.ok(!Number.isSafeInteger((tableSectorsMax + 1) * 512));
    assert.equal(refusalOf(`0 ${tableSectorsMax + 1} error`).code, 'TABLE_NUMBER');
    assert.equal(refusalOf(`0 ${tableSectorsMax} error\n${tableSectorsMax} 1 error`).code, 'TABLE_TOO_LONG');
    for (const digits of ['99999999999999999999', '999999999999999999999', '18446744073709551616']) {
      assert.equal(refusalOf(`0 ${digits} error`).code, 'TABLE_NUMBER');
    }
  });

  it('limits the length of a line on both sides', () => {
    const start = '0 8 many ';
    const line = start + 'x'.repeat(tableLineLengthMax - start.length);
    assert.equal(parseTable(line, registry).length, 1);
    assert.equal(refusalOf(`${line}x`).code, 'TABLE_TOO_LONG');
  });

  it('limits the number of segments on both sides', () => {
    const lines = Array.from({ length: tableSegmentsMax }, (_, index) => `${index} 1 error`);
    assert.equal(parseTable(lines.join('\n'), registry).length, tableSegmentsMax);
    lines.push(`${tableSegmentsMax} 1 error`);
    assert.equal(refusalOf(lines.join('\n')).code, 'TABLE_TOO_LONG');
  });

  it('refuses a valid table that is mutated in one place', () => {
    const mutation = fc.constantFrom<(segment: TableSegment) => Partial<TableSegment>>(
      (segment) => ({ startSector: segment.startSector + 1 }),
      () => ({ sectorCount: 0 }),
      () => ({ target: 'liner' }),
      () => ({ target: 'linear', words: ['/dev/a'] }),
      () => ({ target: 'error', words: ['1'] }),
      () => ({ startSector: -1 }),
      () => ({ sectorCount: tableSectorsMax + 1 }),
      () => ({ sectorCount: 1.5 }),
      () => ({ sectorCount: Number.NaN }),
    );
    fc.assert(
      fc.property(table, fc.nat(), mutation, (segments, at, mutate) => {
        const index = at % segments.length;
        const mutated = segments.map((segment, place) =>
          place === index ? { ...segment, ...mutate(segment) } : segment,
        );
        assert.match(refusalOf(formatTable(mutated)).message, new RegExp(`^table line ${index + 1}: `));
      }),
    );
  });

  it('has no answer but segments or a TargetError for any text', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom(...'0 1 8 9 \n # \\ error linear'.split('')) }),
        (text) => {
          try {
            parseTable(text, registry);
          } catch (error) {
            assert.ok(error instanceof TargetError);
          }
        },
      ),
    );
  });
});

describe('escapeWord', () => {
  it('refuses what no line can hold', () => {
    assert.throws(() => escapeWord(''), TargetError);
    assert.throws(() => escapeWord('/dev/a\n0 1 error'), TargetError);
  });
});
