import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Errno } from '../../src/block/errno.ts';
import { failureOf, finish, makeStack, patternOf, readSectors, writeSectors } from './remap-stack.ts';

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

  it('R16 one round answers for all who ask within a second', async () => {
    const stack = makeStack();
    const asked = Array.from({ length: 20 }, () => stack.core.probe.deviceWorks('read'));
    assert.deepEqual(
      await stack.clock.run(Promise.all(asked)),
      asked.map(() => true),
    );
    assert.equal(stack.core.probe.rounds, 1);
    await stack.clock.runFor(1001);
    await stack.clock.run(stack.core.probe.deviceWorks('read'));
    assert.equal(stack.core.probe.rounds, 2);
    await finish(stack);
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
