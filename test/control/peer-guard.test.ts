import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, test } from 'node:test';
import { ControlClient, ControlError } from '../../src/control/client.ts';
import { PeerGuard, type PeerGuardParts } from '../../src/control/peer-guard.ts';
import { listenOnSocket } from '../../src/control/server.ts';
import type { DeniedPeer } from '../../src/device/messages.ts';

const nobody = 65_534;
const pong = { name: 'disk', state: 'serving', pid: 7 } as const;

let directory: string;
let socketPath: string;
let server: Server | undefined;
let asked: number;
let denied: DeniedPeer[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dm-remap-peer-'));
  socketPath = join(directory, 'control.sock');
  asked = 0;
  denied = [];
});

afterEach(async () => {
  server?.closeAllConnections();
  await new Promise((resolve) => server?.close(resolve));
  rmSync(directory, { recursive: true, force: true });
});

async function serve(parts: Omit<PeerGuardParts, 'onDenied'> = {}): Promise<void> {
  const guard = new PeerGuard({ ...parts, onDenied: (peer) => denied.push(peer) });
  const ask = (): Promise<typeof pong> => {
    asked += 1;
    return Promise.resolve(pong);
  };
  server = await listenOnSocket(socketPath, { ask }, guard);
}

async function refusal(): Promise<ControlError> {
  try {
    await new ControlClient(socketPath).ping();
  } catch (error) {
    if (error instanceof ControlError) return error;
    throw error;
  }
  return assert.fail('it was answered');
}

test('the owner of the process is served, by what the kernel says of the connection', async () => {
  await serve();
  assert.deepEqual(await new ControlClient(socketPath).ping(), pong);
  assert.deepEqual(denied, []);
});

test('another user is refused in one line, and told of, whatever the mode of the socket', async () => {
  await serve({ peerOf: () => ({ pid: 4711, uid: 1234 }), ownUid: 1000 });
  const { code, message } = await refusal();
  assert.equal(code, 'REFUSED');
  assert.equal(message, 'another user: only root and the user who serves the device may use its control API');
  assert.equal(asked, 0);
  assert.deepEqual(denied, [{ pid: 4711, uid: 1234, count: 1 }]);
});

test('root is served by the device of another user', async () => {
  await serve({ peerOf: () => ({ pid: 1, uid: 0 }), ownUid: 1000 });
  assert.deepEqual(await new ControlClient(socketPath).ping(), pong);
});

test('nobody is served when the kernel does not say who it is', async () => {
  await serve({ peerOf: () => undefined });
  assert.equal((await refusal()).code, 'REFUSED');
  assert.equal(asked, 0);
});

test('I11 refusals are told once a second, with their number', async () => {
  await serve({ peerOf: () => ({ pid: 4711, uid: 1234 }) });
  for (let at = 0; at < 20; at += 1) await refusal();
  assert.equal(denied.length, 1);
  while (denied.length < 2) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(
    denied.reduce((sum, { count }) => sum + count, 0),
    20,
  );
});

test('one who is refused and says nothing does not keep a place', async () => {
  await serve({ peerOf: () => ({ pid: 4711, uid: 1234 }) });
  const startMs = performance.now();
  await new Promise<void>((resolve) => {
    const socket = connect(socketPath);
    socket.on('error', () => undefined);
    socket.on('close', () => resolve());
    socket.resume();
  });
  assert.ok(performance.now() - startMs < 4_000);
});

test('a process of another user is refused though somebody opened the socket to all', {
  skip: process.getuid?.() !== 0 && 'only root can start one',
}, async () => {
  await serve();
  assert.equal(statSync(socketPath).mode & 0o777, 0o600);
  chmodSync(directory, 0o755);
  chmodSync(socketPath, 0o666);
  const script = `
      const { request } = require('node:http');
      request({ socketPath: ${JSON.stringify(socketPath)}, path: '/ping' }, (incoming) => {
        let text = String(incoming.statusCode) + ' ';
        incoming.on('data', (chunk) => { text += chunk; });
        incoming.on('end', () => console.log(text));
      }).end();`;
  const child = spawn(process.execPath, ['-e', script], {
    uid: nobody,
    gid: nobody,
    cwd: '/',
    env: {},
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  await new Promise((resolve) => child.once('close', resolve));
  assert.match(output, /^403 \{"error":\{"code":"DENIED",/);
  assert.equal(asked, 0);
  assert.deepEqual(denied, [{ uid: nobody, pid: child.pid, count: 1 }]);
});
