import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sectorBytes } from '../../src/block/block-device.ts';
import { Errno } from '../../src/block/errno.ts';
import { noSlot } from '../../src/metadata/mapping-state.ts';
import {
  failedRead,
  failedSectors,
  failureOf,
  finish,
  LyingDevice,
  makeStack,
  patternOf,
  readSectors,
  remappedGranules,
  type Stack,
  writeSectors,
} from './remap-stack.ts';

async function policy(stack: Stack, name: string, value: string): Promise<void> {
  await stack.clock.run(stack.device.message(['policy', name, value]));
}

describe('on-lost=zero', () => {
  it('R12 puts zeroes in the place of lost sectors of a read, counts the reply, and takes it back at once', async () => {
    const stack = makeStack();
    await writeSectors(stack, 80, patternOf(80, 8));
    stack.mainDisk.faults.addBadSectors(82, 2, { on: 'read' });
    await policy(stack, 'on-lost', 'zero');
    const expected = patternOf(80, 8);
    expected.fill(0, 2 * sectorBytes, 4 * sectorBytes);
    for (let round = 1; round <= 2; round += 1) {
      assert.deepEqual(await readSectors(stack, 80, 8), expected);
      assert.equal(stack.device.status().counters.zeroedReads, round);
    }
    assert.equal(stack.core.stateOf(10).unreadable, 0b1100, 'they are lost all the same');
    await policy(stack, 'on-lost', 'error');
    assert.deepEqual(failedSectors((await failedRead(stack, 80, 8)).error), [82, 83]);
    assert.equal(stack.device.status().counters.zeroedReads, 2);
    await finish(stack);
  });

  it('R12 no move sees them: what goes home or to another slot is never a zero that nobody wrote', async () => {
    const stack = makeStack();
    await writeSectors(stack, 80, patternOf(80, 8));
    stack.mainDisk.faults.addBadSectors(82, 1, { on: 'read' });
    await policy(stack, 'on-lost', 'zero');
    await readSectors(stack, 80, 8);
    await stack.clock.run(stack.device.message(['remap', '80', '8']));
    assert.equal(stack.core.stateOf(10).held & 0b100, 0, 'the lost sector has no place on the spare');
    await stack.clock.run(stack.device.message(['unremap', '80', '8']));
    assert.equal(stack.core.stateOf(10).unreadable, 0b100);
    stack.mainDisk.faults.removeBadSectors(82, 1);
    await stack.clock.run(stack.device.message(['verify']));
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8), 'main’s own bytes are untouched');
    await finish(stack);
  });

  it('R12 a path that is away stays an error', async () => {
    const stack = makeStack();
    await writeSectors(stack, 80, patternOf(80, 8));
    await policy(stack, 'on-lost', 'zero');
    for (const errno of [Errno.ENODEV, Errno.EIO]) {
      stack.mainDisk.faults.setPathError(errno);
      await failedRead(stack, 80, 8);
    }
    assert.equal(stack.device.status().counters.zeroedReads, 0);
    stack.mainDisk.faults.setPathError(undefined);
    await finish(stack);
  });
});

describe('on-write-error=rewrite-first', () => {
  it('R23 writes again in place, reads back, and remaps only what fails twice', async () => {
    const stack = makeStack();
    await policy(stack, 'on-write-error', 'rewrite-first');
    stack.mainDisk.faults.failNext(2, { kinds: ['write'], sector: 80, errno: Errno.ENODATA });
    await writeSectors(stack, 80, patternOf(80, 8));
    assert.equal(stack.mainDisk.faults.counts.transient, 2);
    assert.equal(stack.core.table.totals().entries, 0);
    assert.equal(stack.device.status().counters.rewritesInPlace, 1);
    assert.equal(stack.spareDisk.counts.writes, 0);
    assert.deepEqual(
      stack.mainDisk.durableImage.slice(80 * sectorBytes, 88 * sectorBytes),
      patternOf(80, 8),
      'written again durably',
    );
    for (const writeErrno of [Errno.ENODATA, Errno.EIO]) {
      const sector = writeErrno === Errno.EIO ? 160 : 240;
      stack.mainDisk.faults.addBadSectors(sector, 1, { on: 'write', writeErrno });
      await writeSectors(stack, sector, patternOf(sector, 8));
      assert.deepEqual(await readSectors(stack, sector, 8), patternOf(sector, 8));
    }
    assert.deepEqual(remappedGranules(stack), [20, 30]);
    await finish(stack);
  });

  it('remaps what main takes and does not give back', async () => {
    let liar: LyingDevice | undefined;
    const stack = makeStack({
      wrapMain: (below) => {
        liar = new LyingDevice(below, 0);
        return liar;
      },
    });
    await policy(stack, 'on-write-error', 'rewrite-first');
    stack.mainDisk.faults.failNext(2, { kinds: ['write'], sector: 80, errno: Errno.ENODATA });
    liar!.liesLeft = 1;
    await writeSectors(stack, 80, patternOf(80, 8));
    assert.equal(liar!.lies, 1);
    assert.deepEqual(remappedGranules(stack), [10]);
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
    await finish(stack);
  });
});

describe('on-spare-full', () => {
  function fillSpare(stack: Stack): number[] {
    const { allocator } = stack.core.parts;
    const slots: number[] = [];
    while (allocator.freeSlots > 0) slots.push(allocator.allocate(1, false)!.slot);
    return slots;
  }

  it('fail-writes fails only what needs a slot, read-only all writes, and both end when a slot is free', async () => {
    const stack = makeStack();
    await writeSectors(stack, 0, patternOf(0, 8));
    const slots = fillSpare(stack);
    await writeSectors(stack, 0, patternOf(0, 8, 2));
    stack.mainDisk.faults.addBadSectors(160, 1, { on: 'write' });
    assert.equal((await failureOf(writeSectors(stack, 160, patternOf(160, 8)))).kind, 'medium');
    assert.equal(stack.device.status().counters.failedWrites, 1);
    await policy(stack, 'on-spare-full', 'read-only');
    const error = await failureOf(writeSectors(stack, 0, patternOf(0, 8, 3)));
    assert.deepEqual([error.kind, error.errno], ['refused', Errno.EROFS]);
    assert.match(error.message, /the spare is full/);
    assert.equal(stack.device.status().state, 'spare-full');
    assert.deepEqual(await readSectors(stack, 0, 8), patternOf(0, 8, 2));
    for (const slot of slots) stack.core.parts.allocator.free(slot);
    await writeSectors(stack, 0, patternOf(0, 8, 4));
    assert.deepEqual(await readSectors(stack, 0, 8), patternOf(0, 8, 4));
    await finish(stack);
  });
});

describe('verify', () => {
  async function moved(stack: Stack): Promise<number> {
    stack.mainDisk.faults.addBadSectors(82, 1, { on: 'write' });
    await writeSectors(stack, 80, patternOf(80, 8));
    return stack.core.stateOf(10).slot;
  }

  it('R24 first reads back what a slot gets first, off nothing, always each write, flushed before', async () => {
    const stack = makeStack();
    await moved(stack);
    assert.equal(stack.spareDisk.counts.reads, 1);
    await writeSectors(stack, 80, patternOf(80, 8, 2));
    assert.equal(stack.spareDisk.counts.reads, 1);
    await policy(stack, 'verify', 'always');
    const flushes = stack.spareDisk.counts.flushes;
    await writeSectors(stack, 81, patternOf(81, 4, 3));
    assert.equal(stack.spareDisk.counts.reads, 2);
    assert.equal(stack.spareDisk.counts.flushes, flushes + 1);
    assert.equal(stack.spareDisk.unflushedSectorCount, 0);
    await policy(stack, 'verify', 'off');
    assert.equal(stack.device.status().verify, 'off');
    stack.mainDisk.faults.addBadSectors(160, 1, { on: 'write' });
    await writeSectors(stack, 160, patternOf(160, 8));
    assert.equal(stack.spareDisk.counts.reads, 2);
    const expected = patternOf(80, 8, 2);
    expected.set(patternOf(81, 4, 3), sectorBytes);
    assert.deepEqual(await readSectors(stack, 80, 8), expected);
    await finish(stack);
  });

  it('R5, R24 always finds a slot that lies later, retires it, and the write goes to another one', async () => {
    let liar: LyingDevice | undefined;
    const stack = makeStack({
      wrapSpare: (below) => {
        liar = new LyingDevice(below, 0);
        return liar;
      },
    });
    const before = await moved(stack);
    await policy(stack, 'verify', 'always');
    liar!.liesLeft = 1;
    await writeSectors(stack, 80, patternOf(80, 8, 2));
    assert.equal(liar!.lies, 1);
    assert.equal(stack.device.status().counters.verifyMismatches, 1);
    const { slot } = stack.core.stateOf(10);
    assert.ok(slot !== before && slot !== noSlot);
    assert.equal(stack.core.parts.allocator.retiredSlots, 1);
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8, 2));
    await finish(stack);
  });

  it('R24 always on buffered files is off, and says so', async () => {
    const stack = makeStack({ verifySlots: false });
    await policy(stack, 'verify', 'always');
    await moved(stack);
    await writeSectors(stack, 80, patternOf(80, 8, 2));
    assert.equal(stack.spareDisk.counts.reads, 0);
    assert.equal(stack.device.status().verify, 'off');
    await finish(stack);
  });

  it('R7, R24 a flush that fails behind such a write fails it', async () => {
    const stack = makeStack();
    await moved(stack);
    await policy(stack, 'verify', 'always');
    stack.spareDisk.faults.failFlush('once');
    const error = await failureOf(writeSectors(stack, 80, patternOf(80, 8, 2)));
    assert.equal(error.kind, 'path');
    assert.equal(stack.spareDisk.faults.counts.flush, 1);
    await writeSectors(stack, 80, patternOf(80, 8, 3));
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8, 3));
    await failureOf(stack.clock.run(stack.device.flush()));
    await finish(stack);
  });
});
