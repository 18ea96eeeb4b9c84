import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { BlockDevice } from '../../src/block/block-device.ts';
import { Errno } from '../../src/block/errno.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';
import { slotStormMin } from '../../src/remap/path/slot-storm.ts';
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

/** Granule 10 is bad on main and lives in a slot; its first sector on the spare is returned. */
async function remapGranule10(stack: Stack): Promise<number> {
  stack.mainDisk.faults.addBadSectors(80, 8, { on: 'both' });
  await writeSectors(stack, 80, patternOf(80, 8));
  assert.deepEqual(remappedGranules(stack), [10]);
  return stack.core.stateOf(10).slot * 8;
}

/** Lets the spare answer again: uses up the failures that were asked for. */
async function drainTransient({ clock, spare, spareDisk }: Stack): Promise<void> {
  const { counts } = spareDisk.faults;
  for (let before = -1; before !== counts.transient; ) {
    before = counts.transient;
    await clock.run(spare.read(new Uint8Array(512), 0).catch(() => undefined));
  }
}

/** Set while `forgetful` spares drop what they are given. */
let forgets = false;

function forgetful(spare: BlockDevice): BlockDevice {
  class Forgetful extends FilterDevice {
    override write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
      return forgets ? Promise.resolve() : this.below.write(source, offset, flags);
    }
  }
  return new Forgetful(spare);
}

describe('R5 when the spare fails', () => {
  it('M9 a slot that cannot be written is retired, recorded, and never used again', async () => {
    // EIO may be the spare's: the next slot is in another region, and its success proves the first one bad.
    for (const { writeErrno, writes, retired } of [
      { writeErrno: Errno.EIO, writes: 2, retired: [16] },
      { writeErrno: Errno.ENODATA, writes: 3, retired: [16, 17, 18] },
    ]) {
      const stack = makeStack();
      // The first three slots that will be tried.
      stack.spareDisk.faults.addBadSectors(16 * 8, 3 * 8, { on: 'write', writeErrno });
      await remapGranule10(stack);
      // EIO is asked once more behind a good probe (R17).
      assert.equal(stack.spareDisk.faults.counts.badSectorWrites, writes);
      const { allocator } = stack.core.parts;
      const { slot: good } = stack.core.stateOf(10);
      if (writeErrno === Errno.EIO) assert.equal(allocator.regionOf(good), allocator.regionOf(16) + 1);
      else assert.equal(good, 19);
      assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
      assert.deepEqual(stack.metadata.retiredSlots(), retired, 'recorded with the next commit');
      assert.equal(stack.device.status().slotsRetired, retired.length);
      assert.equal(stack.device.status().state, 'ok');
      assert.match(
        await stack.device.message(['health']),
        /^degraded: .*errors of the spare/,
        'a spare that fails now and then is seen',
      );
      // Every other slot of the spare is used up: the retired ones stay out.
      const used = new Set<number>();
      for (let run = allocator.allocate(1, false); run !== undefined; ) {
        used.add(run.slot);
        run = allocator.allocate(1, false);
      }
      assert.deepEqual(
        [...retired, good].filter((slot) => used.has(slot)),
        [],
      );
      for (const slot of used) allocator.free(slot);
      await finish(stack);
    }
  });

  it('gives up after four slots: EIO, and the old bytes stay where they are', async () => {
    const stack = makeStack();
    stack.spareDisk.faults.addBadSectors(16 * 8, 100 * 8, { on: 'write', writeErrno: Errno.ENODATA });
    stack.mainDisk.faults.addBadSectors(80, 1, { on: 'write' });
    const error = await failureOf(stack.clock.run(stack.device.write(patternOf(80, 1), 80 * 512)));
    assert.equal(error.errno, Errno.EIO);
    assert.equal(stack.spareDisk.faults.counts.badSectorWrites, 4);
    assert.deepEqual(remappedGranules(stack), []);
    assert.equal(stack.core.parts.allocator.usedSlots, 0);
    assert.equal(stack.device.status().slotsRetired, 4);
    await finish(stack);
  });

  for (const dying of ['fails all writes', 'fails to read what it took', 'keeps nothing'] as const) {
    it(`R5 a spare that ${dying}, by definite errors, loses a few slots and not all`, async () => {
      const stack = makeStack({
        storedPolicies: { 'path-timeout': '0' },
        wrapSpare: (spare) => forgetful(spare),
      });
      await remapGranule10(stack);
      const { allocator } = stack.core.parts;
      const freeBefore = allocator.freeSlots;
      const slotCount = stack.spareDisk.geometry.sizeBytes / 4096;
      const errnos = { writeErrno: Errno.ENODATA, readErrno: Errno.ENODATA };
      forgets = dying === 'keeps nothing';
      const on = dying === 'fails all writes' ? 'write' : 'read';
      // What is read back is bad; the slot that is in use is not.
      const from = stack.core.stateOf(10).slot + 1;
      if (!forgets) stack.spareDisk.faults.addBadSectors(from * 8, (slotCount - from) * 8, { on, ...errnos });
      stack.mainDisk.faults.addBadSectors(160, 400, { on: 'write' });
      for (let sector = 160; sector < 560; sector += 8) {
        const error = await failureOf(
          stack.clock.run(stack.device.write(patternOf(sector, 1), sector * 512)),
        );
        assert.equal(error.errno, Errno.EIO);
        await stack.clock.runFor(1001);
      }
      assert.equal(stack.device.status().slotsRetired, slotStormMin);
      assert.equal(allocator.freeSlots, freeBefore - slotStormMin);
      assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8), 'what is there is read');
      forgets = false;
      stack.spareDisk.faults.removeBadSectors(0, slotCount * 8);
      await stack.clock.runFor(1001);
      await writeSectors(stack, 160, patternOf(160, 8));
      assert.deepEqual(await readSectors(stack, 160, 8), patternOf(160, 8));
      assert.equal(stack.device.status().slotsRetired, slotStormMin);
      await finish(stack);
    });
  }

  it('R5 a spare that is readable and fails all writes with EIO: none is retired, who needs a slot waits, then EIO', async () => {
    const stack = makeStack();
    await remapGranule10(stack);
    const { allocator } = stack.core.parts;
    const freeBefore = allocator.freeSlots;
    const slotCount = stack.spareDisk.geometry.sizeBytes / 4096;
    stack.spareDisk.faults.addBadSectors(0, slotCount * 8, { on: 'write' });
    stack.mainDisk.faults.addBadSectors(160, 1, { on: 'write' });
    const { clock } = stack;
    const startMs = clock.nowMs();
    const error = await failureOf(clock.run(stack.device.write(patternOf(160, 1), 160 * 512)));
    assert.equal(error.errno, Errno.EIO);
    const { pathTimeoutMs } = stack.core.policies;
    assert(clock.nowMs() - startMs >= pathTimeoutMs && clock.nowMs() - startMs < pathTimeoutMs + 3000);
    assert(stack.spareDisk.faults.counts.badSectorWrites >= 8);
    assert.equal(stack.device.status().slotsRetired, 0);
    assert.equal(allocator.freeSlots, freeBefore);
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8), 'what is there is read');
    assert.deepEqual(remappedGranules(stack), [10]);
    await finish(stack);
  });

  it('R5 a spare that fails all writes for a while costs waiting, and no slot', async () => {
    const stack = makeStack();
    const slotCount = stack.spareDisk.geometry.sizeBytes / 4096;
    stack.spareDisk.faults.addBadSectors(0, slotCount * 8, { on: 'write' });
    stack.mainDisk.faults.addBadSectors(160, 1, { on: 'write' });
    const { clock } = stack;
    clock.schedule(5_000, () => stack.spareDisk.faults.removeBadSectors(0, slotCount * 8));
    const startMs = clock.nowMs();
    await clock.run(stack.device.write(patternOf(160, 8), 160 * 512));
    assert(clock.nowMs() - startMs >= 5_000);
    assert(stack.spareDisk.faults.counts.badSectorWrites >= 8);
    assert.equal(stack.device.status().slotsRetired, 0);
    assert.equal(stack.core.parts.allocator.usedSlots, 1);
    assert.deepEqual(remappedGranules(stack), [20]);
    assert.deepEqual(await readSectors(stack, 160, 8), patternOf(160, 8));
    await finish(stack);
  });

  it('R5 when all slots left are in one region, those that fail with EIO are retired', async () => {
    const stack = makeStack();
    const { allocator } = stack.core.parts;
    const taken: number[] = [];
    for (let run = allocator.allocate(1, false); run !== undefined; run = allocator.allocate(1, false)) {
      taken.push(run.slot);
    }
    const inRegion = taken.filter((slot) => allocator.regionOf(slot) === 5).slice(0, 6);
    assert.equal(inRegion.length, 6);
    for (const slot of inRegion) {
      allocator.free(slot);
      stack.spareDisk.faults.addBadSectors(slot * 8, 8, { on: 'write' });
    }
    stack.mainDisk.faults.addBadSectors(160, 1, { on: 'write' });
    const error = await failureOf(stack.clock.run(stack.device.write(patternOf(160, 1), 160 * 512)));
    assert.equal(error.kind, 'medium');
    assert.equal(stack.spareDisk.faults.counts.badSectorWrites, 8, 'each twice (R17)');
    assert.equal(stack.device.status().slotsRetired, 4);
    for (const slot of taken) if (!inRegion.includes(slot)) allocator.free(slot);
    await finish(stack);
  });

  it('an overwritten slot that fails: only that granule moves, with its other sectors', async () => {
    const stack = makeStack();
    const slotSector = await remapGranule10(stack);
    await writeSectors(stack, 200, patternOf(200, 8));
    stack.spareDisk.faults.addBadSectors(slotSector + 2, 1, { on: 'write' });
    await writeSectors(stack, 82, patternOf(82, 2, 2));
    assert(stack.spareDisk.faults.counts.badSectorWrites > 0);
    assert.notEqual(stack.core.stateOf(10).slot * 8, slotSector);
    const expected = patternOf(80, 8);
    expected.set(patternOf(82, 2, 2), 2 * 512);
    assert.deepEqual(await readSectors(stack, 80, 8), expected);
    assert.deepEqual(remappedGranules(stack), [10]);
    assert.equal(stack.device.status().slotsRetired, 1);
    await finish(stack);
  });

  it('an overwritten slot that fails and has unreadable sectors: those become gone (R4)', async () => {
    const stack = makeStack();
    const slotSector = await remapGranule10(stack);
    stack.spareDisk.faults.addBadSectors(slotSector + 2, 1, { on: 'both' });
    stack.spareDisk.faults.addBadSectors(slotSector + 5, 1, { on: 'both' });
    await writeSectors(stack, 82, patternOf(82, 1, 2));
    assert.equal(stack.core.stateOf(10).gone, 1 << 5);
    const { error, bytes } = await failedRead(stack, 80, 8);
    assert.deepEqual(failedSectors(error), [85]);
    const expected = patternOf(80, 8);
    expected.set(patternOf(82, 1, 2), 2 * 512);
    assert.deepEqual(bytes.slice(0, 5 * 512), expected.slice(0, 5 * 512));
    assert.deepEqual(bytes.slice(6 * 512), expected.slice(6 * 512));
    await finish(stack);
  });

  it('R4 a slot that cannot be read: EIO, gone durably before the answer, and never main’s old bytes', async () => {
    for (const readErrno of [Errno.ENODATA, Errno.EIO]) {
      const stack = makeStack();
      await writeSectors(stack, 80, patternOf(80, 8, 9));
      const slotSector = await remapGranule10(stack);
      stack.mainDisk.faults.removeBadSectors(80, 8);
      stack.spareDisk.faults.addBadSectors(slotSector + 1, 2, { on: 'read', readErrno });
      const before = stack.counter.count;
      const { error, bytes } = await failedRead(stack, 80, 8);
      const answered = stack.counter.next();
      assert.deepEqual(failedSectors(error), [81, 82]);
      assert.equal(stack.metadata.replay().get(10)?.gone, 0b110, 'durable');
      assert(stack.metadata.durable.at(-1)!.sequence < answered);
      assert.deepEqual(bytes.slice(0, 512), patternOf(80, 1));
      assert.deepEqual(bytes.slice(3 * 512), patternOf(83, 5));
      assert.equal(stack.device.status().slotsRetired, 1);
      const again = await failedRead(stack, 81, 2);
      assert.deepEqual(failedSectors(again.error), [81, 82]);
      assert(
        again.bytes.every((byte) => byte === 0xaa),
        'nothing was delivered',
      );
      const asked = stack.main.operations.filter(
        ({ sequence, offset }) => sequence > before && offset === 80 * 512,
      );
      assert.deepEqual(asked, [], 'main is never asked for gone sectors');
      // Only a write clears it.
      await writeSectors(stack, 81, patternOf(81, 2, 5));
      assert.deepEqual(await readSectors(stack, 81, 2), patternOf(81, 2, 5));
      assert.equal(stack.core.stateOf(10).gone, 0);
      await finish(stack);
    }
  });

  it('R4, R10 loses whole blocks of main, and a later write of them goes home or to another slot', async () => {
    for (const takesIt of [true, false]) {
      const stack = makeStack({ granuleBytes: 16_384, mainBlockBytes: 4096 });
      stack.mainDisk.faults.addBadSectors(64, 1, { on: 'write' });
      await writeSectors(stack, 64, patternOf(64, 32));
      const { slot } = stack.core.stateOf(2);
      assert.notEqual(slot, -1);
      stack.spareDisk.faults.addBadSectors(slot * 32 + 13, 1, { on: 'read' });
      const { error } = await failedRead(stack, 64, 32);
      assert.deepEqual(failedSectors(error), [72, 73, 74, 75, 76, 77, 78, 79]);
      assert.equal(stack.core.stateOf(2).gone, 0xff00);
      if (!takesIt) stack.mainDisk.faults.addBadSectors(72, 8, { on: 'write' });
      await writeSectors(stack, 72, patternOf(72, 8, 2));
      const expected = patternOf(64, 32);
      expected.set(patternOf(72, 8, 2), 8 * 512);
      assert.deepEqual(await readSectors(stack, 64, 32), expected);
      assert.equal(stack.core.stateOf(2).gone, 0);
      assert.equal(stack.core.stateOf(2).held, takesIt ? 0xffff_00ff : 0xffff_ffff);
      await finish(stack);
    }
  });

  it('a slot that cannot be read at all: everything it held is gone', async () => {
    const stack = makeStack();
    const slotSector = await remapGranule10(stack);
    stack.spareDisk.faults.addBadSectors(slotSector, 8, { on: 'read' });
    const { error } = await failedRead(stack, 80, 1);
    assert.deepEqual(failedSectors(error), [80]);
    assert.equal(stack.core.stateOf(10).gone, 0xff);
    assert.equal(stack.core.stateOf(10).slot, -1);
    await finish(stack);
  });

  it('a spare that does not answer loses nothing: EIO now, the same bytes when it is back', async () => {
    for (const errno of [Errno.ENODEV, Errno.EIO, Errno.EAGAIN]) {
      const stack = makeStack();
      await remapGranule10(stack);
      const flushes = stack.spareDisk.counts.flushes;
      stack.spareDisk.faults.setPathError(errno);
      await stack.clock.runFor(1001);
      await failedRead(stack, 80, 8);
      await failureOf(stack.clock.run(stack.device.write(patternOf(80, 4, 2), 80 * 512)));
      stack.mainDisk.faults.addBadSectors(400, 1, { on: 'write' });
      await failureOf(stack.clock.run(stack.device.write(patternOf(400, 1), 400 * 512)));
      assert(stack.spareDisk.faults.counts.path > 0);
      if (errno !== Errno.EAGAIN) assert.equal(stack.device.status().state, 'spare-failed');
      // Healthy main goes on; nothing unstable is on the spare, so flushes do not fail either (R6).
      await writeSectors(stack, 600, patternOf(600, 8));
      await stack.clock.run(stack.device.flush());
      assert.equal(stack.spareDisk.counts.flushes, flushes);
      assert.equal(stack.device.status().slotsRetired, 0, 'nothing is retired');
      assert.equal(stack.core.table.totals().goneSectors, 0);
      stack.spareDisk.faults.setPathError(undefined);
      await stack.clock.runFor(1001);
      const bytes = await readSectors(stack, 80, 8);
      assert.deepEqual(bytes.slice(4 * 512), patternOf(84, 4));
      await writeSectors(stack, 80, patternOf(80, 8, 3));
      assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8, 3));
      assert.equal(stack.device.status().state, 'ok');
      await finish(stack);
    }
  });

  it('R4 only an error about a sector makes it gone: one of the path, or EIO everywhere, does not', async () => {
    for (const errno of [Errno.ENODEV, Errno.EIO]) {
      const stack = makeStack();
      await remapGranule10(stack);
      const { faults } = stack.spareDisk;
      // The reader's request and the first under the lock are about the medium, everything behind them is not.
      faults.failNext(2, { kinds: ['read'], errno: Errno.ENODATA });
      faults.failNext(100, { kinds: ['read'], errno });
      const { error } = await failedRead(stack, 80, 8);
      assert.equal(error.kind, 'path');
      assert(faults.counts.transient > 2);
      assert.equal(stack.core.stateOf(10).gone, 0);
      assert.equal(stack.device.status().slotsRetired, 0);
      await drainTransient(stack);
      await stack.clock.runFor(1001);
      assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
      await finish(stack);
    }
  });

  it('R2 two writes of one failing slot retire it once: the second finds the new one', async () => {
    const stack = makeStack();
    const slotSector = await remapGranule10(stack);
    stack.spareDisk.faults.addBadSectors(slotSector, 8, { on: 'write' });
    const writes = [0, 2, 4].map((index) =>
      stack.device.write(patternOf(80 + index, 2, 2), (80 + index) * 512),
    );
    await stack.clock.run(Promise.all(writes));
    assert(stack.spareDisk.faults.counts.badSectorWrites >= 3, 'all of them failed first');
    assert.equal(stack.device.status().slotsRetired, 1);
    const expected = patternOf(80, 8, 2);
    expected.set(patternOf(86, 2), 6 * 512);
    assert.deepEqual(await readSectors(stack, 80, 8), expected);
    await finish(stack);
  });

  it('R24 a slot that gives back other bytes is retired, and another one taken', async () => {
    let liar: LyingDevice | undefined;
    const stack = makeStack({
      wrapSpare: (below) => {
        liar = new LyingDevice(below, 2);
        return liar;
      },
    });
    await remapGranule10(stack);
    assert.equal(liar?.lies, 2);
    assert.equal(stack.device.status().counters.verifyMismatches, 2);
    assert.equal(stack.device.status().slotsRetired, 2);
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
    await finish(stack);
  });

  it('a full spare fails only what needs a new slot, and status says why', async () => {
    const stack = makeStack({ spareBytes: 18 * 4096 });
    stack.mainDisk.faults.addBadSectors(80, 3 * 8, { on: 'write' });
    await writeSectors(stack, 80, patternOf(80, 16));
    assert.equal(stack.device.status().state, 'spare-full');
    const error = await failureOf(stack.clock.run(stack.device.write(patternOf(92, 8), 92 * 512)));
    assert.deepEqual(failedSectors(error), [96, 97, 98, 99], 'the part with a slot was written');
    assert.equal(error.errno, Errno.EIO);
    await writeSectors(stack, 80, patternOf(80, 16, 2));
    await writeSectors(stack, 300, patternOf(300, 16, 2));
    assert.deepEqual(await readSectors(stack, 80, 16), patternOf(80, 16, 2));
    assert.deepEqual(await readSectors(stack, 300, 16), patternOf(300, 16, 2));
    await finish(stack);
  });

  it('a full spare keeps in a failing slot what it still gives, and the rest is gone', async () => {
    const stack = makeStack({ spareBytes: 17 * 4096 });
    const slotSector = await remapGranule10(stack);
    stack.spareDisk.faults.addBadSectors(slotSector + 1, 1, { on: 'read' });
    const { error } = await failedRead(stack, 80, 8);
    assert.deepEqual(failedSectors(error), [81]);
    assert.equal(stack.core.stateOf(10).gone, 0b10);
    assert.deepEqual(await readSectors(stack, 82, 6), patternOf(82, 6));
    await finish(stack);
  });
});

describe('when the metadata fails', () => {
  it('M1 not committed: the data goes to a fresh slot', async () => {
    const stack = makeStack();
    stack.metadata.failures.push('METADATA_NOT_COMMITTED', 'METADATA_NOT_COMMITTED');
    await remapGranule10(stack);
    assert.equal(stack.metadata.failuresInjected, 2);
    assert.equal(stack.core.stateOf(10).slot, 18);
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
    assert.equal(stack.core.parts.allocator.usedSlots, 1, 'the slots before are free again');
    await finish(stack);
  });

  it('M1 in doubt: the write fails, later writes are refused, reads go on', async () => {
    const stack = makeStack();
    await writeSectors(stack, 300, patternOf(300, 8));
    stack.mainDisk.faults.addBadSectors(80, 1, { on: 'write' });
    stack.metadata.failures.push('METADATA_FAILED');
    await failureOf(stack.clock.run(stack.device.write(patternOf(80, 1), 80 * 512)));
    assert.equal(stack.metadata.failuresInjected, 1);
    assert.equal(stack.device.status().state, 'metadata-failed');
    const writes = stack.mainDisk.counts.writes;
    const error = await failureOf(stack.clock.run(stack.device.write(patternOf(300, 8, 2), 300 * 512)));
    assert.equal(error.errno, Errno.EIO);
    assert.match(error.message, /no more writes are accepted/);
    assert.equal(stack.mainDisk.counts.writes, writes, 'refused before main');
    assert.deepEqual(await readSectors(stack, 300, 8), patternOf(300, 8));
    assert.equal(stack.core.parts.allocator.usedSlots, 1, 'the slot in doubt is not given out again');
    await stack.clock.run(stack.device.close());
    assert.equal(stack.arena.usedBytes, 0);
  });

  it('R7 a failed flush of the spare puts data in doubt: a fresh slot, and one client flush hears of it', async () => {
    const stack = makeStack();
    stack.spareDisk.faults.failFlush('once');
    await remapGranule10(stack);
    assert.equal(stack.spareDisk.faults.counts.flush, 1);
    assert.equal(stack.core.stateOf(10).slot, 17);
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
    const error = await failureOf(stack.clock.run(stack.device.flush()));
    assert.match(error.message, /an earlier flush failed/);
    await stack.clock.run(stack.device.flush());
    await finish(stack);
  });
});
