import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import { AskError, DataPlaneClient } from '../../src/control/data-plane-client.ts';
import { DataThreadWatch, pingIntervalMs } from '../../src/control/data-thread-watch.ts';
import type { WorkerMessage } from '../../src/device/messages.ts';

class Bench {
  readonly posted: WorkerMessage[] = [];
  nowMs = 0;
  readonly watch: DataThreadWatch;
  #tick: () => void = () => undefined;
  /** Messages that have come and are not yet received. */
  #coming: (() => void)[] = [];

  constructor() {
    this.watch = new DataThreadWatch({
      post: (message) => this.posted.push(message),
      nowMs: () => this.nowMs,
      every: (intervalMs, action) => {
        assert.equal(intervalMs, pingIntervalMs);
        this.#tick = action;
      },
      afterMessages: (action) => {
        for (const receive of this.#coming.splice(0)) receive();
        action();
      },
    });
  }

  tick(): void {
    this.nowMs += pingIntervalMs;
    this.#tick();
  }

  pong(): void {
    this.watch.receive({ kind: 'pong' });
  }

  pongIsComing(): void {
    this.#coming.push(() => this.pong());
  }
}

test('R35 a data thread that turns is pinged every interval, and nothing is said', () => {
  const bench = new Bench();
  for (let round = 0; round < 10; round += 1) {
    bench.tick();
    bench.nowMs += 5;
    bench.pong();
  }
  assert.deepEqual(bench.posted, Array(10).fill({ kind: 'ping' }));
  assert.equal(bench.watch.stalledMs, undefined);
});

test('R35 one that does not turn is known by the next ping, and told for how long when it turns again', () => {
  const bench = new Bench();
  bench.tick();
  assert.equal(bench.watch.stalledMs, undefined, 'not yet');
  bench.tick();
  bench.tick();
  assert.equal(bench.watch.stalledMs, 2 * pingIntervalMs);
  assert.equal(bench.posted.length, 1, 'one ping waits, no more are queued');
  bench.nowMs += 100;
  bench.pong();
  assert.deepEqual(bench.posted.at(-1), { kind: 'stalled', forMs: 2 * pingIntervalMs + 100 });
  assert.equal(bench.watch.stalledMs, undefined);
  bench.tick();
  assert.deepEqual(bench.posted.at(-1), { kind: 'ping' });
});

test('R35 an answer that has come while this thread did not turn counts', () => {
  const bench = new Bench();
  bench.tick();
  bench.pongIsComing();
  bench.tick();
  assert.equal(bench.watch.stalledMs, undefined);
  assert.deepEqual(bench.posted, [{ kind: 'ping' }]);
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
