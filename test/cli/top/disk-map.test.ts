import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type MapCell, mapLegend, mapLines, parseMap, withCells } from '../../../src/cli/top/disk-map.ts';
import { plainText } from '../../../src/cli/top/span.ts';
import { exampleMap } from './views.ts';

test('the reply of the message is read whole, or not at all', () => {
  const reply =
    'cells 20 sectors 64\n3 moved 8 unreadable 0 fresh-zero 0 gone 0\n19 moved 0 unreadable 1 fresh-zero 2 gone 3';
  const map = parseMap(reply);
  assert.deepEqual([map?.cellCount, map?.cellSectors], [20, 64]);
  assert.deepEqual(
    [...(map?.cells ?? [])],
    [
      [3, { moved: 8, unreadable: 0, freshZero: 0, gone: 0 }],
      [19, { moved: 0, unreadable: 1, freshZero: 2, gone: 3 }],
    ],
  );
  assert.deepEqual(parseMap('cells 1 sectors 8')?.cells.size, 0);
  for (const wrong of ['', 'cells 20', `${reply}\n`, reply.replace('moved 8', 'moved x')])
    assert.equal(parseMap(wrong), undefined);
});

test('a cell has the letter of the worst sector in it', () => {
  assert.deepEqual(mapLines(exampleMap, 5).map(plainText), ['.mU.G', '....z']);
  assert.deepEqual(mapLines(exampleMap, 4).map(plainText), ['.mU.', 'G...', '.z']);
  assert.match(
    plainText(mapLegend(exampleMap)),
    /^map, 1 MiB a cell: {2}\. healthy {2}m moved .* U unreadable {2}G gone$/,
  );
});

test('fewer and larger cells say of as many sectors what the finer ones said', () => {
  const cell = fc.record({ moved: fc.nat(9), unreadable: fc.nat(9), freshZero: fc.nat(9), gone: fc.nat(9) });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 300 }),
      fc.dictionary(fc.nat(299).map(String), cell),
      fc.integer({ min: 1, max: 300 }),
      (count, found, most) => {
        const cells = new Map(
          Object.entries(found).map(([at, one]): [number, MapCell] => [Number(at) % count, one]),
        );
        const joined = withCells({ cellCount: count, cellSectors: 8, cells }, most);
        assert.ok(joined.cellCount <= most && joined.cellCount * joined.cellSectors >= count * 8);
        const sum = (of: Iterable<MapCell>): number =>
          [...of].reduce(
            (all, { moved, unreadable, freshZero, gone }) => all + moved + unreadable + freshZero + gone,
            0,
          );
        assert.equal(sum(joined.cells.values()), sum(cells.values()));
        for (const at of cells.keys()) assert.ok(joined.cells.has(Math.floor((at * 8) / joined.cellSectors)));
        assert.equal(mapLines(joined, 7).map(plainText).join('').length, joined.cellCount);
      },
    ),
    { numRuns: 200 },
  );
});
