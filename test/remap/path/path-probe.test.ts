import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
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

describe('PathProbe', () => {
  it('R16 a read is probed by reading a granule that worked, a write by writing its own bytes back', async () => {
    const stack = makeStack();
    await writeSectors(stack, 800, patternOf(800, 8));
    const before = stack.counter.count;
    assert(await stack.clock.run(stack.core.probe.deviceWorks('read')));
    assert(await stack.clock.run(stack.core.probe.deviceWorks('write')));
    const submits = stack.main.operations.filter(
      ({ sequence, phase }) => sequence > before && phase === 'submit',
    );
    assert.deepEqual(
      submits.map(({ kind, offset, length, flags }) => [kind, offset, length, flags]),
      [
        ['read', 800 * 512, 4096, 0],
        ['read', 800 * 512, 4096, 0],
        ['write', 800 * 512, 4096, 1],
      ],
    );
    assert.deepEqual(await readSectors(stack, 800, 8), patternOf(800, 8));
    await finish(stack);
  });

  it('R16 those who ask while a round is under way share the next one, whoever asks later has one of his own', async () => {
    const stack = makeStack();
    const { probe } = stack.core;
    const asked = Array.from({ length: 20 }, () => probe.deviceWorks('read'));
    assert.deepEqual(
      await stack.clock.run(Promise.all(asked)),
      asked.map(() => true),
    );
    assert.equal(probe.rounds, 2);
    assert(await stack.clock.run(probe.deviceWorks('read')));
    assert.equal(probe.rounds, 3);
    await finish(stack);
  });

  it('R16 a device that failed a round is not asked again for a second', async () => {
    const stack = makeStack();
    const { probe } = stack.core;
    stack.mainDisk.faults.setPathError(Errno.EIO);
    const asked = Array.from({ length: 20 }, () => probe.deviceWorks('read'));
    assert((await stack.clock.run(Promise.all(asked))).every((works) => !works));
    stack.mainDisk.faults.setPathError(undefined);
    assert(!(await stack.clock.run(probe.deviceWorks('read'))));
    assert.equal(probe.rounds, 1);
    await stack.clock.runFor(1001);
    assert(await stack.clock.run(probe.deviceWorks('read')));
    assert.equal(probe.rounds, 2);
    await finish(stack);
  });

  it('I27, R16 what a late answer to a read brings is never written back to another granule', async () => {
    const stack = makeStack();
    await writeSectors(stack, 0, patternOf(0, 2048));
    const before = stack.mainDisk.cachedImage();
    const { writes } = stack.mainDisk.counts;
    stack.mainDisk.faults.delayNext(1, { answerMs: 100, doneMs: 3000 }, { kinds: ['read'] });
    stack.mainDisk.faults.delayNext(1, { doneMs: 4000 }, { kinds: ['write'] });
    assert.equal(await stack.clock.run(stack.core.probe.deviceWorks('write')), false);
    assert.equal(stack.mainDisk.faults.counts.late, 1);
    assert.equal(stack.mainDisk.counts.writes, writes, 'nothing is asked into memory that is lent');
    await stack.clock.runFor(5000);
    assert.deepEqual(stack.mainDisk.cachedImage(), before);
    await finish(stack);
  });

  it('R15, R16 asks other granules where the usual ones have been moved: a dead path has no good sector remapped', async () => {
    const stack = makeStack();
    const eighths = [0, 1, 2, 3, 4, 5, 6, 7];
    const moved = eighths.map((eighth) => eighth * 32 + 16);
    for (const granule of moved) {
      stack.mainDisk.faults.addBadSectors(granule * 8, 8, { on: 'both' });
      await writeSectors(stack, granule * 8, patternOf(granule * 8, 8));
    }
    // Every eighth remembers a good granule that goes bad and is moved since.
    for (const granule of moved.map((one) => one + 1)) {
      await readSectors(stack, granule * 8, 8);
      stack.mainDisk.faults.addBadSectors(granule * 8, 8, { on: 'both' });
      await writeSectors(stack, granule * 8, patternOf(granule * 8, 8));
      moved.push(granule);
    }
    moved.sort((a, b) => a - b);
    assert.deepEqual(remappedGranules(stack), moved);
    stack.mainDisk.faults.setPathError(Errno.EIO);
    const writing = failureOf(stack.device.write(patternOf(800, 8), 800 * 512));
    const reading = failureOf(stack.device.read(new Uint8Array(4096), 1600 * 512));
    for (const error of await stack.clock.run(Promise.all([writing, reading])))
      assert.equal(error.kind, 'path');
    assert.deepEqual(remappedGranules(stack), moved);
    assert.equal(stack.core.table.totals().unreadableSectors, 0);
    stack.mainDisk.faults.setPathError(undefined);
    await finish(stack);
  });

  describe('R14 a path that dies right after a good round', () => {
    /** Makes the probes say that main works, now. */
    async function remapOneGranule(stack: Stack): Promise<void> {
      stack.mainDisk.faults.addBadSectors(80, 8, { on: 'both', readErrno: Errno.EIO });
      await writeSectors(stack, 80, patternOf(80, 8));
      assert.deepEqual(remappedGranules(stack), [10]);
    }

    it('has no good sector of main remapped', async () => {
      const stack = makeStack();
      await remapOneGranule(stack);
      stack.mainDisk.faults.setPathError(Errno.EIO);
      const error = await failureOf(stack.clock.run(stack.device.write(patternOf(800, 64), 800 * 512)));
      assert.equal(error.kind, 'path');
      assert.deepEqual(remappedGranules(stack), [10]);
      stack.mainDisk.faults.setPathError(undefined);
      await finish(stack);
    });

    it('has no good sector of main marked unreadable', async () => {
      const stack = makeStack();
      await writeSectors(stack, 800, patternOf(800, 64));
      stack.mainDisk.faults.addBadSectors(160, 1, { on: 'read', readErrno: Errno.EIO });
      assert.deepEqual(failedSectors((await failedRead(stack, 160, 8)).error), [160]);
      assert.equal(stack.core.table.totals().unreadableSectors, 1);
      stack.mainDisk.faults.setPathError(Errno.EIO);
      assert.equal((await failedRead(stack, 800, 64)).error.kind, 'path');
      assert.equal(stack.core.table.totals().unreadableSectors, 1);
      stack.mainDisk.faults.setPathError(undefined);
      assert.deepEqual(await readSectors(stack, 800, 64), patternOf(800, 64));
      await finish(stack);
    });

    it('has no good sector of main marked when it dies between the probe and the second read', async () => {
      const stack = makeStack();
      await writeSectors(stack, 800, patternOf(800, 8));
      const { faults } = stack.mainDisk;
      faults.failNext(1, { errno: Errno.EIO, sector: 800, sectorCount: 8 });
      const { probe } = stack.core;
      const deviceWorks = probe.deviceWorks.bind(probe);
      probe.deviceWorks = async (direction) => {
        const works = await deviceWorks(direction);
        faults.setPathError(Errno.EIO);
        return works;
      };
      assert.equal((await failedRead(stack, 800, 8)).error.kind, 'path');
      assert(faults.counts.path > 8, 'it died, and was probed');
      assert.equal(stack.core.table.totals().unreadableSectors, 0);
      faults.setPathError(undefined);
      await finish(stack);
    });

    it('R5 has no sector of a slot declared gone, and no slot retired', async () => {
      const stack = makeStack();
      await remapOneGranule(stack);
      assert(await stack.clock.run(stack.core.spareProbe.worksUnderLock(new Uint8Array(4096))));
      assert(await stack.clock.run(stack.core.spareProbe.deviceWorks('read')));
      stack.spareDisk.faults.setPathError(Errno.EIO);
      const failed = stack.clock.run(stack.device.read(new Uint8Array(4096), 80 * 512));
      assert.equal((await failureOf(failed)).kind, 'path');
      stack.spareDisk.faults.setPathError(undefined);
      assert.equal(stack.core.table.totals().goneSectors, 0);
      assert.equal(stack.device.status().slotsRetired, 0);
      assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
      await finish(stack);
    });

    it('R5 a slot that fails while the path is away for a moment is read once more before its bytes are given up', async () => {
      const stack = makeStack();
      await remapOneGranule(stack);
      const slotSector = stack.core.stateOf(10).slot * 8;
      // The request, a probe that happens to look there, the reading of the whole slot and of its first sector; then it is back.
      const scope = { errno: Errno.EIO, kinds: ['read'] as const, sector: slotSector, sectorCount: 8 };
      stack.spareDisk.faults.failNext(4, scope);
      assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
      assert.equal(stack.spareDisk.faults.counts.transient, 4);
      assert.equal(stack.core.table.totals().goneSectors, 0);
      await finish(stack);
    });
  });

  it('judges the first request ever: one granule of each eighth is asked until one works', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.addBadSectors(0, 1400, { on: 'both' });
    assert(await stack.clock.run(stack.core.probe.deviceWorks('read')));
    const eighths = stack.main.operations
      .filter(({ phase }) => phase === 'submit')
      .map(({ offset }) => Math.floor(offset / (1 << 17)));
    assert.deepEqual(eighths, [0, 1, 2, 3, 4, 5]);
    await finish(stack);
  });

  it('M21 stays inside the virtual device when main has grown', async () => {
    const stack = makeStack({ mainBytes: 2 << 20, sizeBytes: 1 << 20 });
    stack.mainDisk.faults.addBadSectors(0, 2048, { on: 'both' });
    assert(!(await stack.clock.run(stack.core.probe.deviceWorks('write'))));
    const asked = stack.main.operations.filter(({ phase }) => phase === 'submit');
    assert.equal(asked.length, 8);
    assert(asked.every(({ offset, length }) => offset + length <= 1 << 20));
    await finish(stack);
  });

  it('says no when every eighth fails, and only then', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.setPathError(Errno.EIO);
    assert(!(await stack.clock.run(stack.core.probe.deviceWorks('write'))));
    assert.equal(stack.mainDisk.faults.counts.path, 8);
    stack.mainDisk.faults.setPathError(undefined);
    await finish(stack);
  });

  it('a main that reads but writes nothing is a failed path for writes, and none for reads', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.addBadSectors(0, 2048, { on: 'write' });
    assert.equal((await failureOf(stack.clock.run(stack.device.write(patternOf(0, 8), 0)))).kind, 'path');
    assert.equal(stack.core.table.totals().entries, 0);
    assert(stack.mainDisk.faults.counts.badSectorWrites > 8);
    assert(await stack.clock.run(stack.core.probe.deviceWorks('read')));
    await finish(stack);
  });

  it('R30 a round that took too long writes nothing any more, when the device is suspended perhaps', async () => {
    const stack = makeStack();
    await writeSectors(stack, 800, patternOf(800, 8));
    stack.mainDisk.faults.delayNext(1, { doneMs: 8000 }, { kinds: ['read'], sector: 800, sectorCount: 8 });
    assert(!(await stack.clock.run(stack.core.probe.deviceWorks('write'))));
    await stack.clock.run(stack.device.suspend({ flush: true }));
    const { writes } = stack.mainDisk.counts;
    assert.equal(stack.mainDisk.inFlightCount, 1, 'its read has no answer yet');
    await stack.clock.runFor(5000);
    assert.equal(stack.mainDisk.inFlightCount, 0);
    assert.equal(stack.mainDisk.counts.writes, writes);
    await stack.clock.run(stack.device.resume());
    await finish(stack);
  });

  it('R1 probing a write holds the granule’s lock: a client’s write at that time is not overwritten', async () => {
    for (let seed = 0; seed < 40; seed += 1) {
      const stack = makeStack({ seed: `probe ${seed}` });
      await writeSectors(stack, 800, patternOf(800, 8));
      const probing = stack.core.probe.deviceWorks('write');
      await stack.clock.runFor(seed / 10);
      const writing = stack.device.write(patternOf(800, 8, 2), 800 * 512);
      await stack.clock.run(Promise.all([probing, writing]));
      assert.deepEqual(await readSectors(stack, 800, 8), patternOf(800, 8, 2));
      await finish(stack);
    }
  });

  it('under a lock it uses the caller’s memory and waits for nobody’s', async () => {
    const stack = makeStack({ remapBytes: 16 * 1024 });
    const all = stack.arena.take(16 * 1024, 'remap')!;
    let waitingAnswered = false;
    const waiting = stack.core.spareProbe.deviceWorks('read').finally(() => {
      waitingAnswered = true;
    });
    assert(await stack.clock.run(stack.core.spareProbe.worksUnderLock(all.subarray(0, 4096))));
    assert(!waitingAnswered, 'the other round still waits for memory');
    stack.arena.release(all);
    assert(await stack.clock.run(waiting));
    await finish(stack);
  });
});
