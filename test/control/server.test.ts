import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import fc from 'fast-check';
import { ControlClient, ControlError } from '../../src/control/client.ts';
import { AskError } from '../../src/control/data-plane-client.ts';
import { type Asker, bodyBytesMax, connectionsMax, listenOnSocket } from '../../src/control/server.ts';
import type { ControlAnswers, ControlAsk } from '../../src/device/messages.ts';
import { exampleStatus } from './example-status.ts';

let directory: string;
let socketPath: string;
let server: Server;
let asks: ControlAsk[];
let answer: (ask: ControlAsk) => Promise<ControlAnswers[ControlAsk['type']]>;

const pong = { name: 'disk', state: 'serving', pid: 7 } as const;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dm-remap-control-'));
  socketPath = join(directory, 'control.sock');
  asks = [];
  answer = () => Promise.resolve(pong);
  const asker: Asker = {
    ask: (ask) => {
      asks.push(ask);
      return answer(ask);
    },
  };
  server = await listenOnSocket(socketPath, asker);
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(directory, { recursive: true, force: true });
});

/** Sends raw bytes and gives what comes back until the server closes. */
function exchange(bytes: Uint8Array | string): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = '';
    const socket = connect(socketPath, () => socket.end(bytes));
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => {
      received += chunk;
    });
    socket.on('close', () => resolve(received));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error);
    });
  });
}

function post(path: string, body: string, length: number = Buffer.byteLength(body)): Promise<string> {
  return exchange(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n${body}`);
}

const codeIs =
  (code: string, message: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof ControlError);
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  };

test('the socket may be opened by its owner only', () => {
  assert.equal(statSync(socketPath).mode & 0o777, 0o600);
});

test('a socket file that a crashed worker left is replaced', async () => {
  const leftover = join(directory, 'left.sock');
  writeFileSync(leftover, 'not a socket');
  const second = await listenOnSocket(leftover, { ask: () => Promise.resolve(pong) });
  assert.deepEqual(await new ControlClient(leftover).ping(), pong);
  await new Promise((resolve) => second.close(resolve));
});

test('every question reaches the data plane as it was asked, and its answer comes back', async () => {
  const client = new ControlClient(socketPath);
  assert.deepEqual(await client.ping(), pong);
  answer = () => Promise.resolve(exampleStatus);
  assert.deepEqual(await client.status(), exampleStatus);
  answer = () => Promise.resolve({ lines: ['0 8 remap a b'], mainLines: [] });
  assert.deepEqual(await client.table(), { lines: ['0 8 remap a b'], mainLines: [] });
  answer = () => Promise.resolve({ reply: 'two\nlines' });
  assert.deepEqual(await client.message(3, ['remap', '12']), { reply: 'two\nlines' });
  answer = () => Promise.resolve({ state: 'suspended' });
  assert.deepEqual(await client.suspend(true), { state: 'suspended' });
  assert.deepEqual(await client.suspend(false), { state: 'suspended' });
  answer = () => Promise.resolve({ state: 'serving' });
  assert.deepEqual(await client.resume(), { state: 'serving' });
  answer = () => Promise.resolve({ steps: [], leftBehind: [] });
  assert.deepEqual(await client.remove(), { steps: [], leftBehind: [] });
  assert.deepEqual(asks, [
    { type: 'ping' },
    { type: 'status' },
    { type: 'table' },
    { type: 'message', sector: 3, words: ['remap', '12'] },
    { type: 'suspend', flush: true },
    { type: 'suspend', flush: false },
    { type: 'resume' },
    { type: 'remove', force: false },
  ]);
});

test('a failure of the data plane arrives as a typed error with its line', async () => {
  const client = new ControlClient(socketPath);
  answer = () => Promise.reject(new AskError({ code: 'BAD_MESSAGE', message: 'unknown word frob' }));
  await assert.rejects(client.message(0, ['frob']), codeIs('BAD_MESSAGE', /^unknown word frob$/));
  answer = () => Promise.reject(new AskError({ code: 'UNSAFE', message: 'another disk' }));
  await assert.rejects(client.resume(), codeIs('UNSAFE', /^another disk$/));
  answer = () => Promise.reject(new AskError({ code: 'BUSY', message: 'later' }));
  await assert.rejects(client.ping(), codeIs('REFUSED', /^later$/));
  answer = () => Promise.reject(new Error('a bug with secrets'));
  await assert.rejects(client.ping(), codeIs('REFUSED', /^the control plane failed$/));
});

test('a socket that nobody serves is a typed error', async () => {
  await assert.rejects(new ControlClient(join(directory, 'none.sock')).ping(), codeIs('NOBODY', /nobody/));
});

test('an answer that is not of the protocol is a typed error', async () => {
  answer = () => Promise.resolve({ reply: 'wrong kind' });
  await assert.rejects(new ControlClient(socketPath).ping(), codeIs('NO_ANSWER', /not what/));
});

test('a malformed message is refused and never reaches the data plane', async () => {
  const bodies = [
    '',
    '{',
    'null',
    '[]',
    '{"sector":0}',
    '{"sector":-1,"words":["list"]}',
    '{"sector":0.5,"words":["list"]}',
    '{"sector":0,"words":[]}',
    '{"sector":0,"words":[""]}',
    '{"sector":0,"words":[1]}',
    '{"sector":0,"words":["list"],"more":1}',
    JSON.stringify({ sector: 0, words: Array(65).fill('a') }),
    JSON.stringify({ sector: 0, words: ['a'.repeat(257)] }),
  ];
  for (const body of bodies) assert.match(await post('/message', body), /^HTTP\/1\.1 400 /, body);
  assert.deepEqual(asks, []);
});

test('a body over the limit is refused, whatever length it claims', async () => {
  const large = 'x'.repeat(bodyBytesMax + 1);
  assert.match(await post('/message', large), /^HTTP\/1\.1 413 /);
  const chunked = `POST /message HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${large.length.toString(16)}\r\n${large}\r\n0\r\n\r\n`;
  assert.match(await exchange(chunked), /^HTTP\/1\.1 413 /);
  assert.deepEqual(asks, []);
});

test('a body without a length is read to its end, within the limit', async () => {
  answer = () => Promise.resolve({ reply: 'done' });
  const body = '{"sector":0,"words":["list"]}';
  const chunked = `POST /message HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
  assert.match(await exchange(chunked), /^HTTP\/1\.1 200 /);
  assert.deepEqual(asks, [{ type: 'message', sector: 0, words: ['list'] }]);
});

test('unknown paths and methods are answered, not served', async () => {
  assert.match(await exchange('GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n'), /^HTTP\/1\.1 404 /);
  assert.match(await exchange('GET /remove HTTP/1.1\r\nHost: x\r\n\r\n'), /^HTTP\/1\.1 404 /);
  assert.match(await exchange('DELETE /status HTTP/1.1\r\nHost: x\r\n\r\n'), /^HTTP\/1\.1 404 /);
  assert.deepEqual(asks, []);
});

test('garbage on the socket gets a short 400 or nothing, and harms nothing', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 20_000 }), async (bytes) => {
      const reply = await exchange(bytes);
      assert.ok(reply.length < 300, `a reply of ${reply.length} bytes`);
      assert.ok(reply === '' || reply.startsWith('HTTP/1.1 400 '), reply);
    }),
    { numRuns: 100 },
  );
  assert.deepEqual(asks, []);
  assert.deepEqual(await new ControlClient(socketPath).ping(), pong);
});

test('connections past the limit are cut off, and the API answers again when they go', async () => {
  const held = await Promise.all(
    Array.from(
      { length: connectionsMax },
      () =>
        new Promise<ReturnType<typeof connect>>((resolve) => {
          const socket = connect(socketPath, () => resolve(socket));
          socket.on('error', () => undefined);
        }),
    ),
  );
  await assert.rejects(new ControlClient(socketPath).ping(), ControlError);
  for (const socket of held) socket.destroy();
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(await new ControlClient(socketPath).ping(), pong);
  assert.ok(existsSync(socketPath));
});
