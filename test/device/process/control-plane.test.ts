import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { Clock } from '../../../src/block/clock.ts';
import { ControlClient, ControlError } from '../../../src/control/client.ts';
import { workerUrl } from '../../../src/control/worker-url.ts';
import { ControlPlane, startAttemptsMax } from '../../../src/device/process/control-plane.ts';
import { RealClock } from '../../../src/io/real-clock.ts';

const clock: Clock = new RealClock();

let directory: string;
let socketPath: string;
let crashes: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dm-remap-plane-'));
  socketPath = join(directory, 'control.sock');
  crashes = [];
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** Of a data thread that turns. */
function freshTurnSign(): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(8);
  new BigInt64Array(memory)[0] = process.hrtime.bigint();
  return memory;
}

/** A control plane whose data plane answers a message with its first word. */
function planeWith(worker: URL): ControlPlane {
  return new ControlPlane({
    workerUrl: worker,
    settings: { socketPath, turnSign: freshTurnSign(), tunes: false },
    clock,
    answer: async (ask) =>
      ask.type === 'message'
        ? { answer: { reply: ask.words[0] ?? '' } }
        : { answer: { name: 'disk', state: 'serving', pid: 1 } },
    onCrash: (reason) => crashes.push(reason),
    onDenied: () => undefined,
    onHealth: () => undefined,
    onTuned: () => undefined,
  });
}

async function pingUntilAnswered(client: ControlClient): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    try {
      await client.ping();
      return;
    } catch (error) {
      if (!(error instanceof ControlError)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  assert.fail('the API did not come back');
}

test('the API answers when start resolves, and nobody answers after close', async () => {
  const plane = planeWith(workerUrl);
  await plane.start();
  const client = new ControlClient(socketPath);
  assert.deepEqual(await client.message(0, ['hello']), { reply: 'hello' });
  await plane.close();
  await assert.rejects(client.ping(), ControlError);
  assert.deepEqual(crashes, [], 'closing is no crash');
});

for (const [how, message] of [
  ['throws', /crashed as asked/],
  ['runs out of heap', /heap|memory/i],
] as const) {
  test(`a worker that ${how} comes back while the data plane goes on`, async () => {
    const plane = planeWith(new URL('./crashing-worker.js', import.meta.url));
    await plane.start();
    const client = new ControlClient(socketPath);
    let turns = 0;
    const turning = setInterval(() => {
      turns += 1;
    }, 1);
    await assert.rejects(client.message(0, [how === 'throws' ? 'crash' : 'eat']), ControlError);
    await pingUntilAnswered(client);
    clearInterval(turning);
    assert.equal(crashes.length, 1);
    assert.match(crashes[0]!, message);
    assert.equal(plane.restarts, 1);
    assert.ok(turns > 5, `the data plane turned ${turns} times meanwhile`);
    await plane.close();
  });
}

/** A clock that runs a hundred times as fast and notes what it was asked. */
function fastClock(delays: number[]): Clock {
  return {
    nowMs: () => clock.nowMs(),
    unixMs: () => clock.unixMs(),
    schedule: (delayMs, action) => {
      delays.push(delayMs);
      return clock.schedule(delayMs / 100, action);
    },
  };
}

test('a control plane that never comes to listen fails the start, after a few tries at a bounded rate', async () => {
  const delays: number[] = [];
  const plane = new ControlPlane({
    workerUrl: new URL('data:text/javascript,throw new Error("never starts")'),
    settings: { socketPath, turnSign: freshTurnSign(), tunes: false },
    clock: fastClock(delays),
    answer: () => Promise.reject(new Error('nobody asks')),
    onCrash: (reason) => crashes.push(reason),
    onDenied: () => undefined,
    onHealth: () => undefined,
    onTuned: () => undefined,
  });
  await assert.rejects(plane.start(), /the control API cannot be started: Error: never starts/);
  assert.equal(crashes.length, startAttemptsMax);
  assert.deepEqual(delays, [100, 200, 400, 800]);
  await plane.close();
});

test('a worker that crashes again and again is started again at a bounded rate, for ever', async () => {
  const delays: number[] = [];
  const plane = new ControlPlane({
    workerUrl: new URL('./short-lived-worker.js', import.meta.url),
    settings: { socketPath, turnSign: freshTurnSign(), tunes: false },
    clock: fastClock(delays),
    answer: () => Promise.reject(new Error('nobody asks')),
    onCrash: (reason) => crashes.push(reason),
    onDenied: () => undefined,
    onHealth: () => undefined,
    onTuned: () => undefined,
  });
  await plane.start();
  while (delays.length < 9) await new Promise((resolve) => setTimeout(resolve, 10));
  await plane.close();
  assert.deepEqual(delays.slice(0, 9), [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
});
