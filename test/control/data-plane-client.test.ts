import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import { AskError, DataPlaneClient, waitingAsksMax } from '../../src/control/data-plane-client.ts';
import type { DataPlaneMessage, WorkerMessage } from '../../src/device/messages.ts';

/** What was sent before it has come: a busy machine needs more than any number of milliseconds. */
async function roundTrip({ port1, port2 }: MessageChannel): Promise<void> {
  for (const [from, to] of [
    [port1, port2],
    [port2, port1],
  ] as const) {
    const come = new Promise((resolve) => {
      to.once('message', resolve);
    });
    from.postMessage({ kind: 'finish' });
    await come;
  }
}

/** A border with a data plane that answers when the test says so. */
function border(deadlineMs?: number): {
  client: DataPlaneClient;
  received: WorkerMessage[];
  reply: (message: DataPlaneMessage) => void;
  settle: () => Promise<void>;
  close: () => void;
} {
  const channel = new MessageChannel();
  const received: WorkerMessage[] = [];
  channel.port2.on('message', (message: WorkerMessage) => {
    if (message.kind === 'ask') received.push(message);
  });
  return {
    client: new DataPlaneClient(channel.port1, deadlineMs),
    received,
    reply: (message) => channel.port2.postMessage(message),
    settle: () => roundTrip(channel),
    close: () => channel.port1.close(),
  };
}

const pong = { name: 'disk', state: 'serving', pid: 1 } as const;

test('answers find their asks by number, in whatever order they come', async () => {
  const { client, received, reply, settle, close } = border();
  const first = client.ask({ type: 'ping' });
  const second = client.ask({ type: 'message', sector: 0, words: ['list'] });
  await settle();
  const ids = received.map((message) => (message.kind === 'ask' ? message.id : -1));
  assert.equal(ids.length, 2);
  reply({ kind: 'answer', id: ids[1]!, answer: { reply: 'empty' } });
  reply({ kind: 'answer', id: ids[0]!, answer: pong });
  assert.deepEqual(await second, { reply: 'empty' });
  assert.deepEqual(await first, pong);
  close();
});

test('a failure rejects with its code and line', async () => {
  const { client, reply, close } = border();
  const ask = client.ask({ type: 'ping' });
  reply({ kind: 'failure', id: 1, failure: { code: 'FAILED', message: 'no' } });
  await assert.rejects(
    ask,
    (error) => error instanceof AskError && error.code === 'FAILED' && error.message === 'no',
  );
  close();
});

test('R36 a data plane that does not answer is given up at the deadline, and a late answer is dropped', async () => {
  const { client, reply, settle, close } = border(30);
  await assert.rejects(
    client.ask({ type: 'ping' }),
    (error) => error instanceof AskError && error.code === 'TIMED_OUT',
  );
  reply({ kind: 'answer', id: 1, answer: pong });
  await settle();
  const next = client.ask({ type: 'ping' });
  reply({ kind: 'answer', id: 2, answer: pong });
  assert.deepEqual(await next, pong);
  close();
});

test('I10 asks past the limit are refused at once and the others still answered', async () => {
  const { client, reply, close } = border();
  const waiting = Array.from({ length: waitingAsksMax }, () => client.ask({ type: 'ping' }));
  await assert.rejects(
    client.ask({ type: 'ping' }),
    (error) => error instanceof AskError && error.code === 'BUSY',
  );
  for (let id = 1; id <= waitingAsksMax; id += 1) reply({ kind: 'answer', id, answer: pong });
  assert.equal((await Promise.all(waiting)).length, waitingAsksMax);
  close();
});
