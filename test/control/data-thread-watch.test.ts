import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import { AskError, DataPlaneClient } from '../../src/control/data-plane-client.ts';
import { DataThreadWatch } from '../../src/control/data-thread-watch.ts';
import { stalledAfterMs, turnSignIntervalMs } from '../../src/device/messages.ts';

test('R35 a thread is called stalled when its sign is overdue by as long as a sign takes, and until it gives one', () => {
  const memory = new SharedArrayBuffer(8);
  const given = new BigInt64Array(memory);
  let nowMs = 1_000;
  const watch = new DataThreadWatch(memory, () => BigInt(nowMs) * 1_000_000n);
  const give = (): bigint => Atomics.exchange(given, 0, BigInt(nowMs) * 1_000_000n);
  give();
  // The shared ticks may move a sign by a quarter of its interval.
  nowMs += turnSignIntervalMs * 1.25;
  assert.equal(watch.stalledMs, undefined, 'late, as it may be');
  nowMs += turnSignIntervalMs - 1;
  assert.equal(watch.stalledMs, undefined, 'not yet');
  nowMs += 1;
  assert.equal(watch.stalledMs, stalledAfterMs);
  nowMs += 60_000;
  assert.equal(watch.stalledMs, stalledAfterMs + 60_000);
  give();
  assert.equal(watch.stalledMs, undefined);
});

test('R35 while it does not turn whoever asks is told at once', async () => {
  const posted: unknown[] = [];
  const channel = new MessageChannel();
  channel.port2.on('message', (message) => posted.push(message));
  let stalledMs: number | undefined = 23_400;
  const client = new DataPlaneClient(channel.port1, 1_000, () => stalledMs);
  await assert.rejects(client.ask({ type: 'status' }), (error: unknown) => {
    assert.ok(error instanceof AskError);
    assert.equal(error.code, 'TIMED_OUT');
    assert.equal(error.message, "the device's data thread has not turned for 23 s");
    return true;
  });
  stalledMs = undefined;
  await assert.rejects(client.ask({ type: 'status' }), /no answer from the device after 1000 ms/);
  assert.equal(posted.length, 1, 'nothing was queued for the first');
  channel.port1.close();
});
