import assert from 'node:assert/strict';
import { test } from 'node:test';
import { badPlacesOf, mapCells, regionsOfMap } from '../../src/health/bad-places.ts';
import { StateCause } from '../../src/metadata/mapping-state.ts';
import { makeStack } from '../remap/remap-stack.ts';

test('the map of a device is read as the device writes it: every bad sector is in a region, whatever is wrong with it', async () => {
  const stack = makeStack();
  const { granuleBytes, sizeBytes } = stack.core.parts;
  const granules = sizeBytes / granuleBytes;
  for (const [granule, held, unreadable, gone] of [
    [0, 0xff, 0, 0],
    [1, 0, 0b11, 0],
    [granules - 1, 0, 0, 0b1],
  ] as const) {
    stack.core.live.activate([
      {
        type: 'granules',
        granule,
        granuleCount: 1,
        slot: held === 0 ? -1 : 3,
        held,
        unreadable,
        gone,
        flags: 0,
        cause: StateCause.writeError,
        unixSeconds: 0,
      },
    ]);
  }
  const regions = regionsOfMap(await stack.clock.run(stack.device.message(['map', String(mapCells)])));
  assert.equal(
    regions.reduce((sum, { sectors }) => sum + sectors, 0),
    11,
  );
  assert.equal(regions[0]?.first, 0);
  assert.ok(regions.at(-1)!.last >= sizeBytes / 512 - 1);
  const { tenths } = badPlacesOf(regions, sizeBytes / 512);
  assert.deepEqual(tenths, [10, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
});

test('a text that is no map has no regions', () => {
  for (const text of ['', 'cells 4 sectors', 'nonsense\n1 moved 3', 'cells 1 sectors 0\n0 moved 1']) {
    assert.deepEqual(regionsOfMap(text), []);
  }
});

test('half of all bad sectors in a small place is a hot spot; some sectors are none, and a wide one is none', () => {
  const mainSectors = 1_000_000;
  const cell = (first: number, sectors: number) => ({ first, last: first + 243, sectors });
  const scratch = [cell(500_000, 60), cell(500_244, 40), cell(500_732, 40)];
  const hot = badPlacesOf([cell(0, 30), ...scratch, cell(900_000, 8)], mainSectors);
  assert.equal(hot.clusters, 3);
  assert.deepEqual(hot.hotSpot, { first: 500_000, last: 500_975, sectors: 140 });
  assert.equal(badPlacesOf([cell(500_000, 8)], mainSectors).hotSpot, null, 'one bad block is no scratch');
  const wide = Array.from({ length: 100 }, (_, at) => cell(at * 900, 2));
  const spread = badPlacesOf(wide, mainSectors);
  assert.equal(spread.clusters, 1);
  assert.equal(spread.hotSpot, null, 'a tenth of the disk is no spot');
});
