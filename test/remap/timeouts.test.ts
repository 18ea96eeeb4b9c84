import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { deviceError } from '../../src/block/device-error.ts';
import { Errno } from '../../src/block/errno.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { StateFlags } from '../../src/metadata/mapping-state.ts';
import { TimeoutLedger } from '../../src/remap/path/timeout-ledger.ts';
import { DeadlineDevice } from './deadline-device.ts';
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
} from './remap-stack.ts';

/** A stack whose main answers, or is given up on, within a second. */
function impatientStack(): { stack: Stack; device: DeadlineDevice } {
  let device: DeadlineDevice | undefined;
  const stack = makeStack({
    wrapMain: (below, clock) => {
      device = new DeadlineDevice(below, clock, 1000);
      return device;
    },
  });
  assert(device !== undefined);
  return { stack, device };
}

/** The next request of this kind on the granule hangs until it is released. */
function stick({ mainDisk }: Stack, kind: 'read' | 'write', granule: number): void {
  mainDisk.faults.stickNext(1, { kinds: [kind], sector: granule * 8, sectorCount: 8 });
}

describe('TimeoutLedger', () => {
  it('R14 blames a granule the second time, when both lie close enough', () => {
    const ledger = new TimeoutLedger(800);
    assert(!ledger.isGranules(5, 0));
    assert(!ledger.isGranules(6, 10));
    assert(ledger.isGranules(5, 20));
    assert(!ledger.isGranules(5, 30), 'and begins anew');
    assert(!ledger.isGranules(6, 700_000), 'too long ago');
  });

  it('R14 blames the device for three regions within a minute, and forgets what it held against granules', () => {
    const ledger = new TimeoutLedger(800);
    assert(!ledger.isGranules(5, 0));
    assert(!ledger.isDevices(5, 0));
    assert(!ledger.isDevices(250, 1000));
    assert(!ledger.isDevices(260, 2000), 'the same region');
    assert(ledger.isDevices(750, 59_000));
    assert(!ledger.isGranules(5, 60_000));
    assert(!ledger.isDevices(5, 60_000));
    assert(!ledger.isDevices(250, 61_000));
    assert(!ledger.isDevices(750, 125_000), 'more than a minute');
  });

  it('remembers a bounded number of granules', () => {
    const ledger = new TimeoutLedger(8000);
    for (let granule = 0; granule < 65; granule += 1) assert(!ledger.isGranules(granule, 0));
    assert(!ledger.isGranules(0, 1), 'the oldest was forgotten');
    assert(ledger.isGranules(64, 1));
  });
});

describe('R14 a read without an answer', () => {
  it('is EIO at its deadline; the second time on one granule that is marked, and main is not asked again', async () => {
    const { stack, device } = impatientStack();
    await writeSectors(stack, 0, patternOf(0, 2048));
    for (let turn = 1; turn <= 2; turn += 1) {
      // The second time it is asked once more, under the lock.
      for (let ask = 0; ask < turn; ask += 1) stick(stack, 'read', 10);
      const startMs = stack.clock.nowMs();
      assert.equal((await failedRead(stack, 80, 8)).error.kind, 'timed-out');
      assert(stack.clock.nowMs() - startMs < 1001);
      await stack.clock.runFor(1100);
      assert.equal(stack.core.table.totals().unreadableSectors, turn === 1 ? 0 : 8);
      stack.mainDisk.releaseStuck();
      await stack.clock.runFor(1);
    }
    assert.equal(device.timeouts, 3);
    const { reads } = stack.mainDisk.counts;
    assert.equal((await failedRead(stack, 80, 8)).error.kind, 'lost');
    assert.equal(stack.mainDisk.counts.reads, reads);
    assert.equal(stack.device.status().state, 'ok');
    await finish(stack);
  });

  it('R13 beside zeros of what was never written is no mark: what was written would read as zeros with them', async () => {
    const stack = makeStack({
      mainBytes: 4 << 20,
      fresh: true,
      wrapMain: (below, clock) => new DeadlineDevice(below, clock, 1000),
    });
    stack.mainDisk.faults.addBadSectors(83, 1, { on: 'read' });
    await readSectors(stack, 80, 8);
    assert.equal(stack.core.stateOf(10).flags, StateFlags.freshZero);
    await writeSectors(stack, 80, patternOf(80, 1));
    for (let turn = 1; turn <= 2; turn += 1) {
      stack.mainDisk.faults.stickNext(1, { kinds: ['read'], sector: 80 });
      assert.equal((await failedRead(stack, 80, 1)).error.kind, 'timed-out');
      await stack.clock.runFor(100);
      stack.mainDisk.releaseStuck();
      await stack.clock.runFor(1);
    }
    assert.deepEqual(await readSectors(stack, 80, 1), patternOf(80, 1));
    await finish(stack);
  });

  it('of several granules at once blames none of them', async () => {
    const { stack } = impatientStack();
    for (let turn = 0; turn < 3; turn += 1) {
      stick(stack, 'read', 10);
      await failedRead(stack, 72, 24);
      stack.mainDisk.releaseStuck();
      await stack.clock.runFor(100);
    }
    assert.equal(stack.core.table.totals().entries, 0);
    await finish(stack);
  });

  it('in three regions within a minute is the device’s: no granule is marked, requests wait for a good probe', async () => {
    const { stack } = impatientStack();
    await writeSectors(stack, 0, patternOf(0, 2048));
    for (const granule of [10, 100, 200]) {
      stick(stack, 'read', granule);
      await failedRead(stack, granule * 8, 8);
      await stack.clock.runFor(100);
    }
    assert.equal(stack.device.status().state, 'main-failed');
    assert.equal(stack.core.table.totals().entries, 0);
    stack.mainDisk.releaseStuck();
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
    assert.equal(stack.device.status().state, 'ok');
    await finish(stack);
  });

  it('with a failing probe is the device’s', async () => {
    const { stack } = impatientStack();
    stick(stack, 'read', 10);
    const failed = failureOf(stack.device.read(new Uint8Array(4096), 80 * 512));
    await stack.clock.runFor(500);
    stack.mainDisk.faults.setPathError(Errno.EIO);
    assert.equal((await stack.clock.run(failed)).kind, 'timed-out');
    await stack.clock.runFor(100);
    assert.equal(stack.device.status().state, 'main-failed');
    stack.mainDisk.faults.setPathError(undefined);
    stack.mainDisk.releaseStuck();
    await readSectors(stack, 80, 8);
    assert.equal(stack.core.table.totals().entries, 0);
    await finish(stack);
  });
});

describe('R3 a write that its device has given up on', () => {
  it('keeps its client waiting and its range closed to moves until the kernel has answered', async () => {
    const { stack, device } = impatientStack();
    await writeSectors(stack, 80, patternOf(80, 8));
    stick(stack, 'write', 10);
    let written = false;
    const writing = stack.device.write(patternOf(80, 8, 2), 80 * 512).then(() => {
      written = true;
    });
    await stack.clock.runFor(1);
    let moved = false;
    const moving = stack.device.message(['remap', '80']).then(() => {
      moved = true;
    });
    const before = stack.main.operations.length;
    await stack.clock.runFor(20_000);
    assert.equal(device.timeouts, 1);
    assert.equal(device.zombies, 1);
    assert(!written && !moved);
    const there = stack.main.operations.slice(before).filter(({ offset }) => offset === 80 * 512);
    assert.deepEqual(
      there.filter(({ phase }) => phase === 'submit'),
      [],
      'nothing is sent to the range',
    );
    stack.mainDisk.releaseStuck();
    await stack.clock.run(Promise.all([writing, moving]));
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8, 2));
    assert.deepEqual(remappedGranules(stack), [10]);
    await finish(stack);
  });

  it('R18 a read that has waited for it has all of its time left: only the bad sector fails', async () => {
    const { stack } = impatientStack();
    await writeSectors(stack, 72, patternOf(72, 16));
    stack.mainDisk.faults.addBadSectors(72, 1, { on: 'read' });
    stick(stack, 'write', 10);
    const writing = stack.device.write(patternOf(80, 8, 2), 80 * 512);
    await stack.clock.runFor(1);
    const moving = stack.device.message(['remap', '80']);
    await stack.clock.runFor(1);
    const target = new Uint8Array(16 * 512);
    const reading = failureOf(stack.device.read(target, 72 * 512));
    await stack.clock.runFor(20_000);
    stack.mainDisk.releaseStuck();
    assert.deepEqual(failedSectors(await stack.clock.run(reading)), [72]);
    assert.deepEqual(target.subarray(512, 8 * 512), patternOf(73, 7));
    assert.deepEqual(target.subarray(8 * 512), patternOf(80, 8, 2));
    await stack.clock.run(Promise.all([writing, moving]));
    await finish(stack);
  });

  it('closing waits for it', async () => {
    const { stack } = impatientStack();
    stick(stack, 'write', 10);
    const writing = stack.device.write(patternOf(80, 8), 80 * 512);
    await stack.clock.runFor(5000);
    let closed = false;
    const closing = stack.device.close().then(() => {
      closed = true;
    });
    await stack.clock.runFor(60_000);
    assert(!closed);
    stack.mainDisk.releaseStuck();
    await stack.clock.run(Promise.all([writing, closing]));
    await finish(stack);
  });

  it('R14 leaves alone what answers again: a write may have made it good while the read hung', async () => {
    const { stack, device } = impatientStack();
    await writeSectors(stack, 0, patternOf(0, 2048));
    for (let turn = 1; turn <= 2; turn += 1) {
      stick(stack, 'read', 10);
      const reading = stack.device.read(new Uint8Array(8 * 512), 80 * 512);
      const refused = assert.rejects(reading, { code: 'DEVICE_TIMED_OUT' });
      if (turn === 2) await writeSectors(stack, 80, patternOf(80, 8, 2));
      await stack.clock.run(refused);
      await stack.clock.runFor(1100);
      stack.mainDisk.releaseStuck();
      await stack.clock.runFor(1);
    }
    assert.equal(device.timeouts, 2);
    assert.equal(stack.core.table.totals().unreadableSectors, 0);
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8, 2));
    await finish(stack);
  });

  it('R14 twice on one granule, with good probes: that granule is moved', async () => {
    const { stack, device } = impatientStack();
    await writeSectors(stack, 0, patternOf(0, 2048));
    stack.mainDisk.faults.stickNext(2, { kinds: ['write'], sector: 80, sectorCount: 8 });
    const writing = stack.device.write(patternOf(80, 8, 2), 80 * 512);
    for (let turn = 0; turn < 2; turn += 1) {
      await stack.clock.runFor(2000);
      assert.equal(device.zombies, 1);
      stack.mainDisk.releaseStuck();
    }
    await stack.clock.run(writing);
    assert.equal(device.timeouts, 2);
    assert.deepEqual(remappedGranules(stack), [10]);
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8, 2));
    await finish(stack);
  });

  it('a device that gives up on writes and cannot say when they end is our bug', async () => {
    const stack = makeStack({ main: new MemoryDevice({ sizeBytes: 1 << 20 }) });
    const write = stack.main.write.bind(stack.main);
    stack.main.write = async (source, offset, flags) => {
      await write(source, offset, flags);
      throw deviceError('main', 'timed-out', offset, source.length, Errno.ETIMEDOUT);
    };
    const request = stack.device.write(patternOf(80, 8), 80 * 512);
    await assert.rejects(stack.clock.run(request), /does not say when they end/);
  });
});

describe('R36 a request that hangs', () => {
  it('holds up nobody: neither others, nor moves elsewhere, nor probes', async () => {
    const stack = makeStack();
    await writeSectors(stack, 0, patternOf(0, 2048));
    stack.mainDisk.faults.addBadSectors(400, 1, { on: 'both', readErrno: Errno.EIO });
    // Also the granule that the next probe would ask first.
    stick(stack, 'write', 0);
    stick(stack, 'read', 0);
    const stuck = [stack.device.write(patternOf(0, 8, 2), 0), stack.device.read(new Uint8Array(512), 0)];
    const startMs = stack.clock.nowMs();
    await writeSectors(stack, 400, patternOf(400, 8, 2));
    assert.deepEqual(await readSectors(stack, 408, 8), patternOf(408, 8));
    assert(stack.clock.nowMs() - startMs < 300);
    assert.deepEqual(remappedGranules(stack), [50]);
    stack.mainDisk.releaseStuck();
    await stack.clock.run(Promise.all(stuck));
    await finish(stack);
  });

  it('one granule that hangs does not hide a device that works: the next round asks it last', async () => {
    const { stack, device } = impatientStack();
    await writeSectors(stack, 800, patternOf(800, 8));
    stick(stack, 'read', 100);
    assert(!(await stack.clock.run(stack.core.probe.deviceWorks('read'))), 'safe: nothing is concluded');
    assert.equal(device.timeouts, 1);
    const { reads } = stack.mainDisk.counts;
    assert(await stack.clock.run(stack.core.probe.askAgain('read')));
    assert.equal(stack.mainDisk.counts.reads, reads + 1);
    const last = stack.main.operations.findLast(({ phase }) => phase === 'submit');
    assert.notEqual(last?.offset, 800 * 512);
    stack.mainDisk.releaseStuck();
    await finish(stack);
  });

  it('a probe that hangs is given up, and keeps its lock and its memory until it is answered', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.stickNext(1, { kinds: ['write'], sector: 128, sectorCount: 8 });
    const works = await stack.clock.run(stack.core.probe.deviceWorks('write'));
    assert(!works);
    assert.equal(stack.clock.nowMs(), 5000);
    assert.equal(stack.core.locks.heldCount, 1);
    stack.mainDisk.releaseStuck();
    await stack.clock.runFor(100);
    assert.equal(stack.core.locks.heldCount, 0);
    await finish(stack);
  });
});
