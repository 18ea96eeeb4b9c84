import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { deviceError } from '../../../src/block/device-error.ts';
import { FlushGate } from '../../../src/remap/order/flush-gate.ts';

/** A device whose flushes end when the test says so. */
class HeldFlushes {
  readonly running: { end: () => void; fail: () => void }[] = [];
  submitted = 0;

  flush(): Promise<void> {
    this.submitted += 1;
    return new Promise((resolve, reject) => {
      this.running.push({ end: resolve, fail: () => reject(deviceError('held', 'suspect', 0, 512)) });
    });
  }
}

function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

async function outcome(promise: Promise<void>): Promise<'good' | 'failed'> {
  return promise.then(
    () => 'good',
    () => 'failed',
  );
}

describe('FlushGate', () => {
  it('R6 flushes nothing where nothing was written since the last good flush', async () => {
    const device = new HeldFlushes();
    const gate = new FlushGate(device);
    await gate.flush();
    assert.equal(device.submitted, 0);
    gate.wroteUnstable();
    const flush = gate.flush();
    device.running[0]!.end();
    await flush;
    await gate.flush();
    assert.equal(device.submitted, 1);
  });

  it('R6 a failed flush was no good one: the next is sent, and what is opened anew until then is in doubt', async () => {
    const device = new HeldFlushes();
    const gate = new FlushGate(device);
    gate.wroteUnstable();
    const first = outcome(gate.flush());
    device.running[0]!.fail();
    assert.equal(await first, 'failed');
    gate.poison();
    assert.equal(gate.failures, 2);
    const second = outcome(gate.flush());
    await settled();
    assert.equal(device.submitted, 2);
    device.running[1]!.end();
    assert.equal(await second, 'good');
    await gate.flush();
    assert.equal(device.submitted, 2);
  });

  it('R22 joins a flush that is not yet submitted, never one that is', async () => {
    const device = new HeldFlushes();
    const gate = new FlushGate(device);
    gate.wroteUnstable();
    const first = gate.flush();
    gate.wroteUnstable();
    const second = gate.flush();
    gate.wroteUnstable();
    const third = gate.flush();
    let secondDone = false;
    void second.then(() => {
      secondDone = true;
    });
    device.running[0]!.end();
    await first;
    await settled();
    assert(!secondDone, 'what was written during the first flush needs another');
    assert.equal(device.submitted, 2);
    device.running[1]!.end();
    await Promise.all([second, third]);
    assert.equal(device.submitted, 2, 'second and third shared one');
    await gate.flush();
    assert.equal(device.submitted, 2);
  });

  it('waits for a running flush when nothing was written since it was submitted', async () => {
    const device = new HeldFlushes();
    const gate = new FlushGate(device);
    gate.wroteUnstable();
    const first = gate.flush();
    let joined = false;
    const second = gate.flush().then(() => {
      joined = true;
    });
    await settled();
    assert(!joined, 'not durable yet');
    device.running[0]!.end();
    await Promise.all([first, second]);
    assert.equal(device.submitted, 1);
  });

  it('R7 a failure is told to everybody who waited, also to those behind it, and is counted once', async () => {
    const device = new HeldFlushes();
    const gate = new FlushGate(device);
    gate.wroteUnstable();
    const first = outcome(gate.flush());
    const joined = outcome(gate.flush());
    gate.wroteUnstable();
    const behind = outcome(gate.flush());
    device.running[0]!.fail();
    await settled();
    assert.equal(device.submitted, 1, 'what was dropped is not flushed into success');
    assert.deepEqual(await Promise.all([first, joined, behind]), ['failed', 'failed', 'failed']);
    assert.equal(gate.failures, 1);
    const next = outcome(gate.flush());
    await settled();
    device.running[1]?.end();
    assert.equal(await next, 'good');
    assert.equal(device.submitted, 2, 'the write behind the failure is still owed a flush');
  });

  it('R6 R7 after a failed flush the next one is sent, until one is good: nobody is told of success that no disk gave', async () => {
    const device = new HeldFlushes();
    const gate = new FlushGate(device);
    gate.wroteUnstable();
    for (const failures of [1, 2]) {
      const flush = outcome(gate.flush());
      device.running.at(-1)!.fail();
      assert.equal(await flush, 'failed');
      assert.equal(device.submitted, failures);
      assert(gate.due, 'still owed');
    }
    const good = outcome(gate.flush());
    assert.equal(device.submitted, 3);
    device.running.at(-1)!.end();
    assert.equal(await good, 'good');
    await gate.flush();
    assert.equal(device.submitted, 3, 'nothing is owed any more');
    assert.equal(gate.failures, 2);
  });

  it('R6 a device that fails every flush is not asked for one when nothing was written to it', async () => {
    const gate = new FlushGate({ flush: () => Promise.reject(deviceError('dead', 'path', 0, 512)) });
    await gate.flush();
    assert(!gate.due);
    assert.equal(gate.failures, 0);
  });
});
