import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import fc from 'fast-check';
import { type Asker, bodyBytesMax } from '../../src/control/application.ts';
import { ControlClient, ControlError } from '../../src/control/client.ts';
import { AskError } from '../../src/control/data-plane-client.ts';
import { PeerGuard } from '../../src/control/peer-guard.ts';
import { connectionsMax, headBytesMax, listenOnSocket } from '../../src/control/server.ts';
import type { ControlAnswers, ControlAsk } from '../../src/device/messages.ts';
import { exampleStatus } from './example-status.ts';

let directory: string;
let socketPath: string;
let server: Server;
let asks: ControlAsk[];
let answer: (ask: ControlAsk) => Promise<ControlAnswers[ControlAsk['type']]>;

const guard = new PeerGuard({ onDenied: () => assert.fail('everybody here may ask') });

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
  server = await listenOnSocket(socketPath, asker, guard);
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
  const second = await listenOnSocket(leftover, { ask: () => Promise.resolve(pong) }, guard);
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

/** Status and body of an answer that is no success. */
function failureOf(reply: string): { status: number; code: string; message: string } {
  const match = /^HTTP\/1\.1 (\d+) .*?\r\n\r\n(.*)$/s.exec(reply);
  assert.ok(match !== null, reply);
  assert.match(reply, /content-type: application\/json/i);
  const { error } = JSON.parse(match[2]!);
  assert.deepEqual(Object.keys(error).sort(), ['code', 'message']);
  assert.doesNotMatch(error.message, /\n/);
  return { status: Number(match[1]), ...error };
}

const get = (path: string, more = ''): Promise<string> =>
  exchange(`GET ${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`);

test('unknown paths and methods are told as such, with the methods that there are', async () => {
  for (const path of ['/nothing', '/', '/status/', '/openapi', '/Status']) {
    assert.deepEqual(failureOf(await get(path)), {
      status: 404,
      code: 'BAD_REQUEST',
      message: 'no such resource',
    });
  }
  const wrong = await get('/remove');
  assert.match(wrong, /\r\nallow: POST\r\n/i);
  assert.deepEqual(failureOf(wrong), {
    status: 405,
    code: 'BAD_REQUEST',
    message: '/remove is for POST',
  });
  const alsoWrong = await exchange('DELETE /status HTTP/1.1\r\nHost: x\r\n\r\n');
  assert.match(alsoWrong, /\r\nallow: GET, HEAD\r\n/i);
  assert.equal(failureOf(alsoWrong).status, 405);
  assert.deepEqual(asks, []);
});

test('a head that is too long, and what is no HTTP, are told as such', async () => {
  assert.equal(failureOf(await get('/ping', `X: ${'y'.repeat(headBytesMax)}\r\n`)).status, 431);
  assert.deepEqual(failureOf(await exchange('nonsense\r\n\r\n')), {
    status: 400,
    code: 'BAD_REQUEST',
    message: 'the request is not HTTP/1.1',
  });
  assert.deepEqual(asks, []);
});

test('whatever JSON comes as a body, only what the schema says reaches the data plane', async () => {
  answer = () => Promise.resolve({ reply: '' });
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('/message', '/suspend', '/remove'),
      fc.oneof(
        fc.json(),
        fc.string(),
        fc.record({ sector: fc.anything(), words: fc.anything() }).map((value) => JSON.stringify(value)),
        fc.record({ flush: fc.anything() }).map((value) => JSON.stringify(value)),
      ),
      async (path, body) => {
        asks.length = 0;
        const reply = await post(path, body);
        if (asks.length === 0) assert.equal(failureOf(reply).status, 400);
        else assert.match(reply, /^HTTP\/1\.1 200 /);
      },
    ),
    { numRuns: 150 },
  );
  for (const body of [
    '['.repeat(60_000),
    '{"flush":true,"__proto__":{"flush":false}}',
    '{"flush":true,"flush":1}',
    '{"sector":1e400,"words":["list"]}',
    '{"sector":9007199254740993,"words":["list"]}',
    '\u0000{"flush":true}',
  ]) {
    asks.length = 0;
    for (const path of ['/suspend', '/message'])
      assert.equal(failureOf(await post(path, body)).status, 400, body);
    assert.deepEqual(asks, []);
  }
});

test('garbage on the socket gets a short 400 or nothing, and harms nothing', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 20_000 }), async (bytes) => {
      const reply = await exchange(bytes);
      assert.ok(reply.length < 300, `a reply of ${reply.length} bytes`);
      if (reply !== '') assert.ok([400, 431].includes(failureOf(reply).status), reply);
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

/** A second server beside the first, in which time passes quickly. */
async function impatient(work: (path: string) => Promise<void>): Promise<void> {
  const path = join(directory, 'impatient.sock');
  const deadlines = { requestMs: 300, connectionMs: 1_000 };
  const second = await listenOnSocket(path, { ask: (ask) => answer(ask) }, guard, deadlines);
  try {
    await work(path);
  } finally {
    second.closeAllConnections();
    await new Promise((resolve) => second.close(resolve));
  }
}

/** Sends `first`, then `more` again and again; what comes back until the server ends it. */
function dribble(path: string, first: string, more: string): Promise<string> {
  return new Promise((resolve) => {
    let received = '';
    const socket = connect(path, () => socket.write(first));
    const timer = setInterval(() => socket.write(more), 20);
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      received += chunk;
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearInterval(timer);
      resolve(received);
    });
  });
}

test('a client that sends its head or its body drop by drop is cut off after a deadline', () =>
  impatient(async (path) => {
    const head = await dribble(path, 'GET /ping HTTP/1.1\r\nHost: x\r\nX: ', 'y');
    assert.equal(failureOf(head).status, 408);
    const body = await dribble(
      path,
      'POST /message HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n',
      ' ',
    );
    assert.equal(failureOf(body).status, 408);
    const startMs = performance.now();
    await dribble(path, '', '');
    assert.ok(performance.now() - startMs < 3_000, 'nor does one that sends nothing stay');
    assert.deepEqual(asks, []);
  }));

test('whose request has come whole may wait for its answer longer than a request may take', () =>
  impatient(async (path) => {
    answer = () => new Promise((resolve) => setTimeout(resolve, 700, pong));
    const client = new ControlClient(path);
    assert.deepEqual(await Promise.all([client.ping(), client.resume()]), [pong, { state: 'serving' }]);
  }));

test('a client that does not read its answer is cut off after a deadline', () =>
  impatient(async (path) => {
    answer = () => Promise.resolve({ reply: 'x'.repeat(8_000_000) });
    const body = '{"sector":0,"words":["list"]}';
    const startMs = performance.now();
    const socket = connect(path, () => {
      socket.write(`POST /message HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    });
    socket.pause();
    socket.on('error', () => undefined);
    const open = async (): Promise<boolean> => (await connectionsOf(path)) > 1;
    while (!(await open())) await new Promise((resolve) => setTimeout(resolve, 5));
    while (await open()) await new Promise((resolve) => setTimeout(resolve, 20));
    socket.destroy();
    assert.ok(performance.now() - startMs < 5_000);
  }));

/** Ends of connections of a socket that the kernel knows in this machine: the server's, which carry its path. */
async function connectionsOf(path: string): Promise<number> {
  const { readFile } = await import('node:fs/promises');
  const lines = (await readFile('/proc/net/unix', 'utf8')).split('\n');
  return lines.filter((line) => line.endsWith(` ${path}`)).length;
}

test('asks past the queue of the data plane are BUSY, and the connection is free again', async () => {
  answer = () => Promise.reject(new AskError({ code: 'BUSY', message: 'too many requests at one time' }));
  assert.deepEqual(failureOf(await get('/status')), {
    status: 503,
    code: 'BUSY',
    message: 'too many requests at one time',
  });
});
