import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Errno } from '../../src/block/errno.ts';
import {
  failedRead,
  failedSectors,
  finish,
  makeStack,
  patternOf,
  readSectors,
  remappedGranules,
  type Stack,
  writeSectors,
} from './remap-stack.ts';

/** One moved granule, 10, and good bytes all around it. */
async function withMovedGranule(): Promise<{ stack: Stack; slotSector: number }> {
  const stack = makeStack();
  await writeSectors(stack, 0, patternOf(0, 256));
  stack.mainDisk.faults.addBadSectors(80, 8, { on: 'write' });
  await writeSectors(stack, 80, patternOf(80, 8, 2));
  assert.deepEqual(remappedGranules(stack), [10]);
  return { stack, slotSector: stack.core.stateOf(10).slot * 8 };
}

function moved(): Uint8Array {
  const bytes = patternOf(72, 24);
  bytes.set(patternOf(80, 8, 2), 8 * 512);
  return bytes;
}

describe('where an error came from', () => {
  for (const direction of ['read', 'write'] as const) {
    it(`I18 I19 a ${direction} over three granules that fails on the spare moves none of main’s`, async () => {
      const { stack, slotSector } = await withMovedGranule();
      const { faults } = stack.spareDisk;
      faults.addBadSectors(slotSector + 3, 1, { on: direction });
      if (direction === 'read') {
        const { error, bytes } = await failedRead(stack, 72, 24);
        assert.deepEqual(failedSectors(error), [83]);
        const wanted = moved();
        for (const from of [0, 12 * 512]) {
          const to = from + 11 * 512;
          assert.deepEqual(bytes.subarray(from, to), wanted.subarray(from, to));
        }
        assert(faults.counts.badSectorReads > 0);
      } else {
        await writeSectors(stack, 72, patternOf(72, 24, 3));
        assert.deepEqual(await readSectors(stack, 72, 24), patternOf(72, 24, 3));
        assert(faults.counts.badSectorWrites > 0);
      }
      assert.deepEqual(remappedGranules(stack), [10], 'granules 9 and 11 were in the same request');
      assert.equal(stack.core.counters.mainReadErrors, 0);
      assert.equal(stack.device.status().slotsRetired, 1);
      await finish(stack);
    });

    it(`I18 I19 a ${direction} over three granules that fails on main changes no slot`, async () => {
      const { stack, slotSector } = await withMovedGranule();
      const { faults } = stack.mainDisk;
      const before = faults.counts.badSectorReads + faults.counts.badSectorWrites;
      faults.addBadSectors(92, 1, { on: direction, readErrno: Errno.ENODATA });
      if (direction === 'read') {
        const { error, bytes } = await failedRead(stack, 72, 24);
        assert.deepEqual(failedSectors(error), [92]);
        assert.deepEqual(bytes.subarray(0, 20 * 512), moved().subarray(0, 20 * 512));
        assert.deepEqual(remappedGranules(stack), [10]);
      } else {
        await writeSectors(stack, 72, patternOf(72, 24, 3));
        assert.deepEqual(await readSectors(stack, 72, 24), patternOf(72, 24, 3));
        assert.deepEqual(remappedGranules(stack), [10, 11]);
      }
      assert(faults.counts.badSectorReads + faults.counts.badSectorWrites > before);
      assert.equal(stack.core.stateOf(10).slot * 8, slotSector);
      assert.equal(stack.core.counters.spareErrors, 0);
      assert.equal(stack.device.status().slotsRetired, 0);
      await finish(stack, { lazyLost: direction === 'read' });
    });
  }

  it('I4 a remap writes to the spare alone, after a bounded number of tries', async () => {
    const stack = makeStack();
    await writeSectors(stack, 0, patternOf(0, 256));
    const before = stack.mainDisk.cachedImage();
    // Every sector of the request: main takes nothing of it.
    stack.mainDisk.faults.addBadSectors(80, 8, { on: 'write' });
    const writes = stack.mainDisk.counts.writes;
    const sentMs = stack.clock.nowMs();
    await writeSectors(stack, 80, patternOf(80, 8, 2));
    assert.deepEqual(stack.mainDisk.cachedImage(), before, 'not a byte of main has changed');
    const tries = stack.mainDisk.faults.counts.badSectorWrites;
    assert(tries > 0 && tries <= 4, `${tries} tries of the bad granule`);
    assert(stack.mainDisk.counts.writes - writes <= 12, 'the other ones are of a round of probing');
    assert(stack.clock.nowMs() - sentMs < 1000, `${stack.clock.nowMs() - sentMs} ms`);
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8, 2));
    await finish(stack);
  });
});
