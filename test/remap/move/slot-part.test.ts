import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../../../src/block/errno.ts';
import {
  failedRead,
  failedSectors,
  failureOf,
  finish,
  makeStack,
  patternOf,
  readSectors,
  remappedGranules,
  type Stack,
  writeSectors,
} from '../remap-stack.ts';

/** Granule 10, sectors 80 to 87, moved to a slot of a spare with blocks of 4096 bytes. */
async function movedStack(granuleBytes = 4096, spareBlockBytes = 4096): Promise<Stack> {
  const stack = makeStack({ granuleBytes, spareBlockBytes });
  const granuleSectors = granuleBytes / 512;
  stack.mainDisk.faults.addBadSectors(10 * granuleSectors, granuleSectors, { on: 'both' });
  await writeSectors(stack, 10 * granuleSectors, patternOf(10 * granuleSectors, granuleSectors));
  return stack;
}

function spareRequestsAreWhole({ spare }: Stack, block: number): void {
  for (const { kind, offset, length } of spare.operations) {
    if (kind !== 'flush')
      assert.ok(offset % block === 0 && length % block === 0, `${kind} ${length} at ${offset}`);
  }
}

describe('a spare with larger logical blocks than main', () => {
  it('R9 a sector is written into its slot by read, change and write, and its neighbours stay', async () => {
    const stack = await movedStack();
    const slot = stack.core.stateOf(10).slot;
    await writeSectors(stack, 83, patternOf(83, 1, 2));
    const expected = patternOf(80, 8);
    expected.set(patternOf(83, 1, 2), 3 * 512);
    assert.deepEqual(await readSectors(stack, 80, 8), expected);
    assert.deepEqual(await readSectors(stack, 82, 3), expected.slice(2 * 512, 5 * 512));
    assert.equal(stack.core.stateOf(10).slot, slot, 'in place');
    assert.equal(stack.metadata.durable.length, 1, 'no record was needed');
    spareRequestsAreWhole(stack, 4096);
    await finish(stack);
  });

  it('R9 eight writers of one block, a sector each, at the same time', async () => {
    for (const seed of ['a', 'b', 'c', 'd']) {
      const stack = makeStack({ spareBlockBytes: 4096, seed });
      stack.mainDisk.faults.addBadSectors(80, 8, { on: 'both' });
      await writeSectors(stack, 80, patternOf(80, 8));
      const writes = Array.from({ length: 8 }, (_, at) =>
        stack.device.write(patternOf(80 + at, 1, 2), (80 + at) * 512),
      );
      await stack.clock.run(Promise.all(writes));
      assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8, 2));
      spareRequestsAreWhole(stack, 4096);
      await finish(stack);
    }
  });

  it('R9 a write of a part of a granule holds that part only; the rest stays on main', async () => {
    const stack = makeStack({ spareBlockBytes: 4096 });
    await writeSectors(stack, 80, patternOf(80, 8));
    stack.mainDisk.faults.addBadSectors(83, 1, { on: 'both' });
    await writeSectors(stack, 83, patternOf(83, 1, 2));
    assert.equal(stack.core.stateOf(10).held, 1 << 3);
    await writeSectors(stack, 81, patternOf(81, 4, 3));
    assert.equal(stack.core.stateOf(10).held, 1 << 3);
    const expected = patternOf(80, 8);
    expected.set(patternOf(81, 4, 3), 512);
    assert.deepEqual(await readSectors(stack, 80, 8), expected);
    assert.deepEqual(stack.mainDisk.cachedImage(82 * 512, 512), patternOf(82, 1, 3));
    spareRequestsAreWhole(stack, 4096);
    await finish(stack);
  });

  it('R5, R9 neighbours that the block no longer gives become gone; the written sector moves', async () => {
    const stack = await movedStack(16_384);
    const { slot } = stack.core.stateOf(10);
    stack.spareDisk.faults.addBadSectors(slot * 32 + 8, 8, { on: 'read' });
    await writeSectors(stack, 330, patternOf(330, 1, 2));
    const state = stack.core.stateOf(10);
    assert.notEqual(state.slot, slot);
    assert.deepEqual(stack.metadata.retiredSlots(), [], 'retired with the next record');
    const { error, bytes } = await failedRead(stack, 320, 32);
    assert.deepEqual(failedSectors(error), [328, 329, 331, 332, 333, 334, 335]);
    assert.deepEqual(bytes.slice(10 * 512, 11 * 512), patternOf(330, 1, 2));
    assert.deepEqual(await readSectors(stack, 336, 16), patternOf(336, 16));
    await finish(stack);
  });

  it('R5, R9 a block that cannot be written moves with all that it held', async () => {
    const stack = await movedStack();
    const { slot } = stack.core.stateOf(10);
    stack.spareDisk.faults.addBadSectors(slot * 8, 8, { on: 'write' });
    await writeSectors(stack, 83, patternOf(83, 1, 2));
    assert.notEqual(stack.core.stateOf(10).slot, slot);
    const expected = patternOf(80, 8);
    expected.set(patternOf(83, 1, 2), 3 * 512);
    assert.deepEqual(await readSectors(stack, 80, 8), expected);
    assert.deepEqual(remappedGranules(stack), [10]);
    await finish(stack);
  });

  it('R5, R9 a spare that does not answer costs nobody a byte', async () => {
    const stack = await movedStack();
    stack.spareDisk.faults.setPathError(Errno.ENODEV);
    const error = await failureOf(stack.clock.run(stack.device.write(patternOf(83, 1, 2), 83 * 512)));
    assert.equal(error.kind, 'path');
    stack.spareDisk.faults.setPathError(undefined);
    const [sector] = failedSectors(error);
    assert.ok(sector !== undefined);
    const after = await readSectors(stack, 80, 8);
    assert.deepEqual(after.slice(0, 3 * 512), patternOf(80, 3));
    assert.deepEqual(after.slice(4 * 512), patternOf(84, 4));
    await finish(stack);
  });

  it('R9 a read over several blocks gives no byte that was not read when its first block fails for a moment', async () => {
    const stack = await movedStack(8192);
    stack.spareDisk.faults.failNext(1, { kinds: ['read'], errno: Errno.EREMOTEIO });
    assert.deepEqual(await readSectors(stack, 163, 11), patternOf(163, 11));
    assert.equal(stack.spareDisk.faults.counts.transient, 1);
    await finish(stack);
  });

  it('R9 write-zeroes and discard of a part leave the rest of the block alone', async () => {
    const stack = await movedStack();
    await stack.clock.run(stack.device.writeZeroes(82 * 512, 2 * 512));
    await stack.clock.run(stack.device.discard(84 * 512, 2 * 512));
    const expected = patternOf(80, 8).fill(0, 2 * 512, 4 * 512);
    assert.deepEqual(await readSectors(stack, 80, 8), expected);
    assert.equal(stack.spareDisk.counts.discards, 0);
    await finish(stack);
  });

  it('R9 behaves as an array of bytes under any sequence of writes and reads', async () => {
    const step = fc.record({
      write: fc.boolean(),
      first: fc.nat(95),
      count: fc.integer({ min: 1, max: 40 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), fc.nat(), async (steps, seed) => {
        const stack = makeStack({ granuleBytes: 16_384, spareBlockBytes: 4096, seed: String(seed) });
        for (const sector of [3, 33, 40, 70]) stack.mainDisk.faults.addBadSectors(sector, 2, { on: 'both' });
        const model = patternOf(0, 136);
        await writeSectors(stack, 0, model);
        for (const [version, { write, first, count }] of steps.entries()) {
          if (write) {
            const bytes = patternOf(first, count, version + 2);
            model.set(bytes, first * 512);
            await writeSectors(stack, first, bytes);
          } else {
            assert.deepEqual(
              await readSectors(stack, first, count),
              model.slice(first * 512, (first + count) * 512),
            );
          }
        }
        assert.deepEqual(await readSectors(stack, 0, 136), model);
        spareRequestsAreWhole(stack, 4096);
        await finish(stack);
      }),
      { numRuns: 20 },
    );
  });

  it('R9 rewrite-first: what belongs into the slot is written although main fails the rest at the same time', async () => {
    const stack = makeStack({ spareBlockBytes: 4096, storedPolicies: { 'on-write-error': 'rewrite-first' } });
    stack.mainDisk.faults.addBadSectors(80, 1, { on: 'both' });
    await writeSectors(stack, 80, patternOf(80, 1));
    assert.equal(stack.core.stateOf(10).held, 1);
    // So late that the budget is spent: its repair is that of the slot's part.
    stack.mainDisk.faults.delayNext(99, { doneMs: 3000 }, { kinds: ['write'], sector: 81 });
    stack.mainDisk.faults.addBadSectors(81, 1, { on: 'both', writeErrno: Errno.ENODATA });
    await writeSectors(stack, 80, patternOf(80, 8, 2));
    assert.ok(stack.mainDisk.faults.struckSectors('write').has(81));
    assert.equal(stack.mainDisk.faults.counts.slow, 1, 'it is not sent again');
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8, 2));
    await finish(stack);
  });
});
