import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type BlockDevice, sectorBytes } from '../../../src/block/block-device.ts';
import { delay } from '../../../src/block/clock.ts';
import { Errno } from '../../../src/block/errno.ts';
import { FilterDevice } from '../../../src/block/filter-device.ts';
import { noSlot, StateCause } from '../../../src/metadata/mapping-state.ts';
import { salvageQueueMax } from '../../../src/remap/move/salvager.ts';
import { readBudget } from '../../../src/remap/request/read-request.ts';
import type { VirtualClock } from '../../../src/simulator/virtual-clock.ts';
import {
  failedRead,
  failedSectors,
  failureOf,
  finish,
  makeStack,
  patternOf,
  readSectors,
  type Stack,
  type StackOptions,
  writeSectors,
} from '../remap-stack.ts';

/** A drive that tries for a while before it gives up on a sector, and counts what it is asked at one time. */
class SlowErrors extends FilterDevice {
  readonly #clocks: VirtualClock[];
  errorMs = 0;
  reads = 0;
  readsNow = 0;
  readsAtOnceMax = 0;

  constructor(below: BlockDevice, clocks: VirtualClock[]) {
    super(below);
    this.#clocks = clocks;
  }

  override async read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    this.reads += 1;
    this.readsNow += 1;
    this.readsAtOnceMax = Math.max(this.readsAtOnceMax, this.readsNow);
    try {
      await super.read(target, offset, flags);
    } catch (error) {
      await delay(this.#clocks[0]!, this.errorMs);
      throw error;
    } finally {
      this.readsNow -= 1;
    }
  }
}

interface SlowStack extends Stack {
  readonly drive: SlowErrors;
}

/** Sectors 80 to 87 are written; those of `bad` fail reads, each try for `errorMs`. */
async function slowStack(
  bad: readonly number[],
  errorMs: number,
  options: StackOptions = {},
): Promise<SlowStack> {
  const clocks: VirtualClock[] = [];
  let drive: SlowErrors | undefined;
  const stack = makeStack({
    ...options,
    wrapMain: (below) => {
      drive = new SlowErrors(below, clocks);
      return drive;
    },
  });
  clocks.push(stack.clock);
  await writeSectors(stack, 80, patternOf(80, 8));
  for (const sector of bad) stack.mainDisk.faults.addBadSectors(sector, 1, { on: 'read' });
  drive!.errorMs = errorMs;
  return Object.assign(stack, { drive: drive! });
}

describe('a read that a retry saves', () => {
  it('R17 is moved with the sector that failed for itself with ENODATA, durably, and with no other', async () => {
    const stack = makeStack();
    await writeSectors(stack, 80, patternOf(80, 8));
    // Together, together once more without neighbours, alone; the fourth time it comes.
    stack.mainDisk.faults.failNext(3, { kinds: ['read'], sector: 82, errno: Errno.ENODATA });
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
    assert.equal(stack.mainDisk.faults.counts.transient, 3);
    const state = stack.core.stateOf(10);
    assert.deepEqual([state.held, state.unreadable, state.cause], [0b100, 0, StateCause.salvage]);
    assert.equal(stack.metadata.replay().get(10)?.slot, state.slot);
    stack.mainDisk.faults.addBadSectors(82, 1, { on: 'read' });
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8), 'just in time');
    await finish(stack);
  });

  it('R17 moves the whole part when its blocks come one by one and not together', async () => {
    const stack = makeStack();
    await writeSectors(stack, 80, patternOf(80, 8));
    stack.mainDisk.faults.failNext(2, { kinds: ['read'], sector: 80, sectorCount: 8, errno: Errno.ENODATA });
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
    assert.equal(stack.core.stateOf(10).held, 0xff);
    await finish(stack);
  });

  it('R17 moves nothing after EIO, which may have been the path’s', async () => {
    const stack = makeStack();
    await writeSectors(stack, 80, patternOf(80, 8));
    stack.mainDisk.faults.failNext(3, { kinds: ['read'], sector: 82, errno: Errno.EIO });
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
    assert.equal(stack.mainDisk.faults.counts.transient, 3);
    assert.equal(stack.core.table.totals().entries, 0);
    await finish(stack);
  });

  it('R31 stays on main when only the reserve is left', async () => {
    const stack = makeStack();
    await writeSectors(stack, 80, patternOf(80, 8));
    const { allocator } = stack.core.parts;
    while (allocator.freeSlots > allocator.reserveSlots) allocator.allocate(1, false);
    stack.mainDisk.faults.failNext(3, { kinds: ['read'], sector: 82, errno: Errno.ENODATA });
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
    assert.equal(stack.core.table.totals().entries, 0);
    assert.equal(stack.spareDisk.counts.writes, 0);
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
  });

  it('R5 stays on main while the spare is away, and is answered all the same', async () => {
    const stack = makeStack();
    await writeSectors(stack, 80, patternOf(80, 8));
    stack.spareDisk.faults.setPathError(Errno.ENODEV);
    stack.mainDisk.faults.failNext(3, { kinds: ['read'], sector: 82, errno: Errno.ENODATA });
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
    assert.equal(stack.core.table.totals().entries, 0);
    stack.mainDisk.faults.failNext(3, { kinds: ['read'], sector: 82, errno: Errno.ENODATA });
    const { writes } = stack.spareDisk.counts;
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
    assert.equal(stack.spareDisk.counts.writes, writes, 'known to be away, and not asked');
    stack.spareDisk.faults.setPathError(undefined);
    await finish(stack);
  });

  it('marks its neighbours that nobody can read in the same record', async () => {
    const stack = makeStack();
    await writeSectors(stack, 80, patternOf(80, 8));
    stack.mainDisk.faults.addBadSectors(85, 1, { on: 'read' });
    stack.mainDisk.faults.failNext(3, { kinds: ['read'], sector: 82, errno: Errno.ENODATA });
    assert.deepEqual(failedSectors((await failedRead(stack, 80, 8)).error), [85]);
    const state = stack.core.stateOf(10);
    assert.deepEqual([state.held, state.unreadable], [0b100, 0b10_0000]);
    assert.notEqual(state.slot, noSlot);
    await finish(stack);
  });
});

describe('the salvager', () => {
  it('R18 a reader has his answer in time, undecided, and what is undecided gets no mark from him', async () => {
    const stack = await slowStack([80, 81, 82, 83, 84, 85, 86, 87], 4000);
    const { error } = await failedRead(stack, 80, 8);
    assert.ok(stack.clock.nowMs() < readBudget.msMax + 2 * 4000 + 100, `after ${stack.clock.nowMs()} ms`);
    assert.equal(error.ranges.at(-1)?.kind, 'timed-out');
    const undecided = error.ranges.filter(({ kind }) => kind === 'timed-out');
    assert.ok(undecided.length > 0);
    const decided = stack.core.stateOf(10).unreadable;
    for (const sector of failedSectors(error)) {
      const isUndecided = undecided.some(
        ({ offset, length }) => sector * sectorBytes >= offset && sector * sectorBytes < offset + length,
      );
      assert.equal((decided & (1 << (sector - 80))) === 0, isUndecided, `sector ${sector}`);
    }
    stack.drive.readsAtOnceMax = 0;
    await stack.clock.runUntilIdle();
    assert.equal(stack.core.stateOf(10).unreadable, 0xff, 'decided in the background');
    assert.equal(stack.drive.readsAtOnceMax, 1, 'one read at a time');
    await finish(stack);
  });

  it('R18 moves what it saves, and only that', async () => {
    const stack = await slowStack([80, 81, 82, 83], 4000);
    await failedRead(stack, 80, 8);
    const undecided = [80, 81, 82, 83].filter(
      (sector) => (stack.core.stateOf(10).unreadable & (1 << (sector - 80))) === 0,
    );
    assert.ok(undecided.includes(83));
    // 83 has failed alone by then, 13 seconds after the reader's time was over.
    await stack.clock.runFor(13_000);
    stack.mainDisk.faults.removeBadSectors(83, 1);
    await stack.clock.runUntilIdle();
    const state = stack.core.stateOf(10);
    assert.deepEqual([state.held, state.unreadable, state.cause], [0b1000, 0b111, StateCause.salvage]);
    assert.deepEqual(await readSectors(stack, 83, 5), patternOf(83, 5));
    await finish(stack);
  });

  it('R18 readers of what it works on share its attempt: one read each, and an error at once', async () => {
    const stack = await slowStack([80, 81, 82, 83, 84, 85, 86, 87], 4000);
    await failedRead(stack, 80, 8);
    assert.equal(stack.core.salvager.has(10), true);
    const before = stack.drive.reads;
    const reads = Array.from({ length: 5 }, () =>
      failureOf(stack.device.read(new Uint8Array(sectorBytes), 87 * sectorBytes)),
    );
    const errors = await stack.clock.run(Promise.all(reads));
    assert.ok(errors.every(({ kind }) => kind === 'timed-out'));
    assert.ok(stack.drive.reads - before <= 5 + 3, 'one each, beside those of the salvager');
    await stack.clock.runUntilIdle();
    await finish(stack);
  });

  it('R18 does nothing when the policy says so', async () => {
    const stack = await slowStack([80, 81, 82, 83, 84, 85, 86, 87], 4000);
    await stack.clock.run(stack.device.message(['policy', 'salvage', 'off']));
    await failedRead(stack, 80, 8);
    const { reads } = stack.drive;
    await stack.clock.runUntilIdle();
    assert.equal(stack.drive.reads, reads);
    assert.notEqual(stack.core.stateOf(10).unreadable, 0xff);
    await finish(stack);
  });

  it('R1 a write in between is neither lost nor moved away', async () => {
    const stack = await slowStack([80, 81, 82, 83, 84, 85, 86, 87], 4000);
    await failedRead(stack, 80, 8);
    await stack.clock.runFor(500);
    stack.mainDisk.faults.removeBadSectors(80, 8);
    await writeSectors(stack, 80, patternOf(80, 8, 2));
    await stack.clock.runUntilIdle();
    assert.equal(stack.core.table.totals().unreadableSectors, 0);
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8, 2));
    await finish(stack);
  });

  it('R2 a write that waits for its last read, and makes the sector good, is not marked', async () => {
    const stack = makeStack();
    await writeSectors(stack, 80, patternOf(80, 8));
    stack.mainDisk.faults.addBadSectors(82, 1, { on: 'read', healOnWrite: true });
    stack.mainDisk.faults.delayNext(3, { doneMs: 500 }, { kinds: ['read'], sector: 82 });
    stack.core.salvager.add(10, 0b100);
    // The three reads end at 0.5 s, 2 s and 3.5 s.
    await stack.clock.runFor(3250);
    assert.equal(stack.mainDisk.faults.counts.slow, 3, 'the last one is under way');
    await writeSectors(stack, 82, patternOf(82, 1, 2));
    await stack.clock.runUntilIdle();
    assert.equal(stack.mainDisk.faults.counts.healedSectors, 1);
    assert.equal(stack.core.table.totals().unreadableSectors, 0);
    assert.deepEqual(await readSectors(stack, 82, 1), patternOf(82, 1, 2));
    await finish(stack);
  });

  it('R15 says nothing about a sector while main is away, and goes on when it is back', async () => {
    const stack = await slowStack([80, 81, 82, 83, 84, 85, 86, 87], 4000);
    await failedRead(stack, 80, 8);
    const before = stack.core.stateOf(10).unreadable;
    stack.drive.errorMs = 0;
    stack.mainDisk.faults.setPathError(Errno.EIO);
    await stack.clock.runFor(10_000);
    assert.equal(stack.core.stateOf(10).unreadable, before);
    assert.ok(stack.mainDisk.faults.counts.path > 0);
    stack.mainDisk.faults.setPathError(undefined);
    await stack.clock.runUntilIdle();
    assert.equal(stack.core.stateOf(10).unreadable, 0xff);
    await finish(stack);
  });

  it('gives up a granule whose turn always comes while main is away', async () => {
    const stack = await slowStack([80, 81, 82, 83, 84, 85, 86, 87], 4000);
    await failedRead(stack, 80, 8);
    stack.drive.errorMs = 0;
    stack.mainDisk.faults.setPathError(Errno.ENODEV);
    await stack.clock.runUntilIdle();
    assert.equal(stack.core.salvager.has(10), false);
    assert.equal(stack.device.status().counters.salvageDropped, 1);
    stack.mainDisk.faults.setPathError(undefined);
    await finish(stack);
  });

  it('takes a bounded number of granules, and counts the others', async () => {
    const stack = makeStack({ mainBytes: 16 << 20 });
    for (let granule = 0; granule < salvageQueueMax + 3; granule += 1) stack.core.salvager.add(granule, 1);
    assert.equal(stack.device.status().counters.salvageDropped, 3);
    assert.equal(stack.core.salvager.has(salvageQueueMax), false);
    assert.equal(stack.device.status().salvageWaiting, salvageQueueMax);
    await stack.clock.runUntilIdle();
    assert.equal(stack.core.salvager.has(0), false, 'all were good');
    assert.equal(stack.core.table.totals().entries, 0);
    await finish(stack);
  });

  it('I24 ends with the device, also between two tries', async () => {
    for (const afterMs of [100, 4500, 33_000]) {
      const stack = await slowStack([80, 81, 82, 83, 84, 85, 86, 87], 4000);
      await failedRead(stack, 80, 8);
      await stack.clock.runFor(afterMs);
      await finish(stack);
      const { reads } = stack.drive;
      await stack.clock.runUntilIdle();
      assert.equal(stack.drive.reads, reads);
    }
  });

  it('R30 rests while the device is suspended, and goes on', async () => {
    const stack = await slowStack([80, 81, 82, 83, 84, 85, 86, 87], 4000);
    await failedRead(stack, 80, 8);
    await stack.clock.run(stack.device.suspend({ flush: true }));
    const { reads } = stack.drive;
    await stack.clock.runUntilIdle();
    assert.equal(stack.drive.reads, reads);
    await stack.clock.run(stack.device.resume());
    await stack.clock.runUntilIdle();
    assert.equal(stack.core.stateOf(10).unreadable, 0xff);
    await finish(stack);
  });
});
