import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DeviceError } from '../../src/block/device-error.ts';
import { Errno } from '../../src/block/errno.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { noSlot } from '../../src/metadata/mapping-state.ts';
import { SparelessDevice } from '../../src/remap/spareless-device.ts';
import { GranuleTable } from '../../src/remap/table/granule-table.ts';

const sectorBytes = 512;
const granuleSectors = 8;
const granules = 32;
const sectors = granules * granuleSectors;
const geometry = {
  sizeBytes: sectors * sectorBytes,
  logicalBlockBytes: sectorBytes,
  physicalBlockBytes: granuleSectors * sectorBytes,
};

type Entry = readonly [granule: number, held: number, unreadable: number, gone: number];

function build(entries: readonly Entry[]): { main: MemoryDevice; device: SparelessDevice; bad: Set<number> } {
  const main = new MemoryDevice({ sizeBytes: geometry.sizeBytes });
  for (let at = 0; at < main.bytes.length; at += 1) main.bytes[at] = 1 + ((at * 7) % 250);
  const table = new GranuleTable();
  const bad = new Set<number>();
  for (const [granule, hold, loss, gone] of entries) {
    const held = hold & ~gone;
    const unreadable = loss & ~hold & ~gone;
    for (let bit = 0; bit < granuleSectors; bit += 1) bad.delete(granule * granuleSectors + bit);
    for (let bit = 0; bit < granuleSectors; bit += 1) {
      if (((held | unreadable | gone) & (1 << bit)) !== 0) bad.add(granule * granuleSectors + bit);
    }
    const slot = held === 0 ? noSlot : granule + 100;
    table.set({ granule, slot, held, unreadable, gone, flags: 0, cause: 0, unixSeconds: 0 });
  }
  return { main, device: new SparelessDevice({ name: 'disk', main, table, geometry }), bad };
}

const byte = fc.integer({ min: 0, max: 255 });
const entries = fc.array(fc.tuple(fc.nat(granules - 1), byte, byte, byte), { maxLength: 12 });
const ranges = fc
  .tuple(fc.nat(sectors - 1), fc.integer({ min: 1, max: 40 }))
  .map(([start, count]) => ({ start, count: Math.min(count, sectors - start) }));

test('M13 without its spare every moved or lost sector is EIO, and all others are what main has', async () => {
  await fc.assert(
    fc.asyncProperty(entries, ranges, async (list, { start, count }) => {
      const { main, device, bad } = build(list);
      const target = new Uint8Array(count * sectorBytes);
      const failed = new Set<number>();
      try {
        await device.read(target, start * sectorBytes);
      } catch (error) {
        assert.ok(error instanceof DeviceError);
        for (const range of error.ranges) {
          assert.equal(range.errno, Errno.EIO);
          for (let at = 0; at < range.length; at += sectorBytes)
            failed.add((range.offset + at) / sectorBytes);
        }
      }
      for (let sector = start; sector < start + count; sector += 1) {
        assert.equal(failed.has(sector), bad.has(sector), `sector ${sector}`);
        if (bad.has(sector)) continue;
        const from = (sector - start) * sectorBytes;
        const at = sector * sectorBytes;
        assert.deepEqual(
          target.subarray(from, from + sectorBytes),
          main.bytes.subarray(at, at + sectorBytes),
        );
      }
    }),
    { numRuns: 200 },
  );
});

test('M13 without its spare nothing is written, zeroed or discarded: EROFS', async () => {
  const { main, device } = build([[2, 255, 0, 0]]);
  const before = main.bytes.slice();
  const isReadOnly = (error: unknown): boolean => error instanceof DeviceError && error.errno === Errno.EROFS;
  await assert.rejects(device.write(new Uint8Array(4096), 0), isReadOnly);
  await assert.rejects(device.writeZeroes(0, 4096), isReadOnly);
  await assert.rejects(device.discard(0, 4096), isReadOnly);
  await device.flush();
  assert.equal(device.capabilities.write, false);
  assert.deepEqual(main.bytes, before);
});

test('M13 the map of a device without its spare tells what was moved, unreadable and gone', async () => {
  const { device } = build([
    [2, 255, 0, 0],
    [3, 0, 1, 6],
  ]);
  assert.deepEqual(await device.extents(0, 4 * 4096), [
    { length: 2 * 4096, state: 'data' },
    { length: 4096, state: 'remapped' },
    { length: 512, state: 'unreadable' },
    { length: 1024, state: 'gone' },
    { length: 2560, state: 'data' },
  ]);
});
