import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { IoFlags } from '../../../src/block/block-device.ts';
import { Errno } from '../../../src/block/errno.ts';
import { discardsAtOnceMax } from '../../../src/remap/request/discard-permits.ts';
import { discardPiecesMax } from '../../../src/remap/request/discard-request.ts';
import type { RecordedOperation } from '../../../src/simulator/recording-device.ts';
import {
  failedRead,
  failedSectors,
  failureOf,
  finish,
  makeStack,
  patternOf,
  readSectors,
  type Stack,
  writeSectors,
} from '../remap-stack.ts';

function discards({ operations }: Stack['main']): string[] {
  return operations
    .filter(({ kind, phase }) => kind === 'discard' && phase === 'submit')
    .map(({ offset, length }) => `${offset / 512}+${length / 512}`);
}

function mostAtOnce({ operations }: Stack['main']): number {
  let now = 0;
  let most = 0;
  for (const { kind, phase } of operations) {
    if (kind !== 'discard') continue;
    now += phase === 'submit' ? 1 : -1;
    most = Math.max(most, now);
  }
  return most;
}

function discard(stack: Stack, sector: number, sectorCount: number): Promise<void> {
  return stack.clock.run(stack.device.discard(sector * 512, sectorCount * 512));
}

function entries(stack: Stack): unknown[] {
  const states: unknown[] = [];
  for (
    let state = stack.core.table.atOrAfter(0);
    state !== undefined;
    state = stack.core.table.atOrAfter(state.granule + 1)
  )
    states.push(state);
  return states;
}

describe('a discard', () => {
  it('R20 goes to main for healthy and to the spare for mapped sectors, and changes no mapping', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.addBadSectors(80, 1, { on: 'write' });
    await writeSectors(stack, 64, patternOf(64, 32));
    const before = entries(stack);
    const slot = stack.core.stateOf(10).slot;
    await discard(stack, 64, 24);
    assert.deepEqual(discards(stack.main), ['64+16']);
    assert.deepEqual(discards(stack.spare), [`${slot * 8}+8`]);
    const kept = stack.spare.operations.find(({ kind }: RecordedOperation) => kind === 'discard');
    assert.equal(kept?.flags, IoFlags.keepAllocated, 'the spare keeps its room');
    assert.deepEqual(entries(stack), before);
    assert.deepEqual(await readSectors(stack, 88, 8), patternOf(88, 8), 'nothing outside changed');
    assert.equal(stack.metadata.durable.length, 1, 'the remap; the discard stored nothing');
    await writeSectors(stack, 64, patternOf(64, 32, 2));
    assert.deepEqual(await readSectors(stack, 64, 32), patternOf(64, 32, 2));
    await finish(stack);
  });

  it('R20 asks the disks for a bounded number of pieces at once, whatever the table looks like', async () => {
    const stack = makeStack({ mainBytes: 4 << 20, lostGranulesMax: 2000 });
    await writeSectors(stack, 0, patternOf(0, 8192));
    for (let granule = 0; granule < 400; granule += 2)
      stack.mainDisk.faults.addBadSectors(granule * 8, 8, { on: 'read' });
    for (let granule = 0; granule < 400; granule += 2) await failedRead(stack, granule * 8, 8);
    await stack.clock.runUntilIdle();
    await discard(stack, 0, 4000);
    assert.equal(discards(stack.main).length, 200, 'each healthy piece between two lost granules');
    const inFlightMax = mostAtOnce(stack.main);
    assert.ok(inFlightMax > 1 && inFlightMax <= discardPiecesMax, `${inFlightMax}`);
    await finish(stack);
  });

  it('R20 asks each disk for a bounded number at once, however many clients discard', async () => {
    const stack = makeStack({ mainBytes: 4 << 20, lostGranulesMax: 2000 });
    for (let granule = 0; granule < 200; granule += 2)
      stack.mainDisk.faults.addBadSectors(granule * 8, 8, { on: 'read' });
    for (let granule = 0; granule < 200; granule += 2) await failedRead(stack, granule * 8, 8);
    await stack.clock.runUntilIdle();
    const clients = Array.from({ length: 20 }, () => stack.device.discard(0, 1600 * 512));
    await stack.clock.run(Promise.all(clients));
    assert.equal(discards(stack.main).length, 20 * 100);
    assert.equal(mostAtOnce(stack.main), discardsAtOnceMax);
    await finish(stack);
  });

  it('R20 leaves the marks of unreadable and gone sectors', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.addBadSectors(80, 1, { on: 'both' });
    stack.mainDisk.faults.addBadSectors(97, 1, { on: 'read' });
    await writeSectors(stack, 80, patternOf(80, 8));
    await failedRead(stack, 97, 1);
    const slot = stack.core.stateOf(10).slot;
    stack.spareDisk.faults.addBadSectors(slot * 8 + 3, 1, { on: 'read' });
    await failedRead(stack, 83, 1);
    const before = entries(stack);
    await discard(stack, 80, 24);
    assert.deepEqual(entries(stack), before);
    assert.deepEqual(failedSectors((await failedRead(stack, 80, 24)).error), [83, 97]);
    assert.equal(stack.device.status().goneSectors, 1);
    assert.equal(stack.device.status().unreadableSectors, 1);
    await finish(stack);
  });

  it('R20 an error of it says nothing about the disk: nothing is remapped, nothing fails', async () => {
    for (const errno of [Errno.EIO, Errno.ENODATA, Errno.EREMOTEIO, Errno.EAGAIN]) {
      const stack = makeStack();
      await writeSectors(stack, 64, patternOf(64, 8));
      stack.mainDisk.faults.failNext(1, { kinds: ['discard'], errno });
      await discard(stack, 64, 8);
      assert.equal(stack.mainDisk.faults.counts.transient, 1, 'the injection happened');
      assert.deepEqual(entries(stack), []);
      assert.equal(stack.device.status().state, 'ok');
      assert.deepEqual(
        await readSectors(stack, 64, 8),
        patternOf(64, 8),
        'it failed before it had an effect',
      );
      assert.equal(stack.device.capabilities.discard, true);
      await finish(stack);
    }
  });

  it('R15, R20 a disk that does not know discard is asked once', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.failNext(1, { kinds: ['discard'], errno: Errno.EOPNOTSUPP });
    assert.equal(stack.device.capabilities.discard, true);
    await discard(stack, 64, 8);
    assert.equal(stack.device.capabilities.discard, false);
    await discard(stack, 64, 8);
    assert.equal(stack.mainDisk.counts.discards, 1);
    await finish(stack);
    const never = makeStack({ mainCapabilities: { discard: false } });
    assert.equal(never.device.capabilities.discard, false);
    await discard(never, 64, 8);
    assert.equal(never.mainDisk.counts.discards, 0);
    await finish(never);
  });

  it('R1, R20 waits for a move of its granule, and a move waits for it', async () => {
    const stack = makeStack();
    const lock = await stack.core.locks.acquire(8, 8);
    const discarding = stack.device.discard(60 * 512, 16 * 512);
    await stack.clock.runFor(100);
    assert.equal(stack.mainDisk.counts.discards, 0);
    stack.core.locks.release(lock);
    await stack.clock.run(discarding);
    assert.equal(stack.mainDisk.counts.discards, 1);
    const second = stack.device.discard(64 * 512, 8 * 512);
    let locked = false;
    const locking = stack.core.locks.acquire(8, 8).then((held) => {
      locked = true;
      stack.core.locks.release(held);
    });
    await Promise.resolve();
    assert.equal(locked, false);
    await stack.clock.run(Promise.all([second, locking]));
    await finish(stack);
  });

  it('R6 what it changed on a disk is flushed, and nothing where it changed nothing', async () => {
    const stack = makeStack();
    await stack.clock.run(stack.device.flush());
    const { flushes } = stack.mainDisk.counts;
    await discard(stack, 64, 8);
    await stack.clock.run(stack.device.flush());
    assert.equal(stack.mainDisk.counts.flushes, flushes + 1);
    assert.equal(stack.spareDisk.counts.flushes, 0);
    await finish(stack);
  });

  it('is cut into parts when it is large, and refused when it is not a range of the device', async () => {
    const stack = makeStack({ mainBytes: 160 * 1024 * 1024 });
    await discard(stack, 8, 300_000);
    assert.deepEqual(discards(stack.main), ['8+131072', '131080+131072', '262152+37856']);
    const outside = stack.device.discard(160 * 1024 * 1024, 512);
    assert.equal((await failureOf(outside)).kind, 'invalid');
    assert.equal(stack.device.inFlight, 0);
    await finish(stack);
  });
});
