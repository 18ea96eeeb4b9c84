import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import process from 'node:process';
import { afterEach, beforeEach, test } from 'node:test';
import type { DeviceStatus } from '../../src/device/messages.ts';
import { isRunning } from '../../src/device/process/process-identity.ts';
import { DeviceLab, pattern } from './device-lab.ts';
import { missingForMounts, missingTool, runTool } from './foreign-tool.ts';
import { assertNothingLeftOver } from './nothing-left-over.ts';

const mib = 1_048_576;
const mainBytes = 8 * mib;

let lab: DeviceLab;
let servers: ChildProcess[];

beforeEach(() => {
  lab = new DeviceLab();
  servers = [];
});

afterEach(async () => {
  for (const server of servers) server.kill('SIGKILL');
  await lab.close();
});

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 2_500; attempt += 1) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail(`${what} did not come`);
}

/** A disk that can be made to hang: an image behind a server that is stopped in mid-request. */
async function stoppableDisk(
  name: string,
  sizeBytes: number,
): Promise<{ uri: string; server: ChildProcess }> {
  const image = lab.image(`${name}.img`, sizeBytes);
  const socket = lab.path(`${name}.sock`);
  return { uri: `nbd+unix:///?socket=${socket}`, server: await startServer(image, socket) };
}

async function startServer(image: string, socket: string): Promise<ChildProcess> {
  rmSync(socket, { force: true });
  const server = spawn('nbdkit', ['-f', '-U', socket, 'file', image], { stdio: 'ignore' });
  servers.push(server);
  await until(socket, () => existsSync(socket));
  return server;
}

/** It answers nothing from here on; its connections stay. */
async function stop(server: ChildProcess): Promise<void> {
  server.kill('SIGSTOP');
  await until('the stop', () => / T /.test(readFileSync(`/proc/${server.pid}/stat`, 'latin1')));
}

async function status(): Promise<DeviceStatus> {
  return JSON.parse(await lab.mustRun('status', 'disk', '--json'));
}

function eventKinds(path: string): string[] {
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
  return lines.map((line): { kind: string } => JSON.parse(line)).map(({ kind }) => kind);
}

test('R3, R35, I22 a main that hangs: its requests are told as stuck, remove refuses, and --force ends the device in seconds', {
  skip: missingTool('nbdkit'),
}, async () => {
  const { uri, server } = await stoppableDisk('main', mainBytes);
  lab.image('spare.img', 24 * mib);
  await lab.mustRun('create', 'disk', '--main', uri, '--spare', 'spare.img', '--overwrite-spare');
  const client = await lab.connect('disk');
  await client.write(pattern(0, mib, 1), 0);
  await client.flush();

  await stop(server);
  const outcomes: string[] = [];
  const note = (name: string, request: Promise<unknown>): Promise<void> =>
    request.then(
      () => void outcomes.push(`${name} answered`),
      () => void outcomes.push(`${name} cut off`),
    );
  const requests = [
    note('write', client.write(pattern(2 * mib, 4096, 2), 2 * mib)),
    note('read', client.read(new Uint8Array(8192), 4 * mib)),
  ];
  await lab.mustFail(
    5,
    /^dm-remap: remove: disk: not removed, the device is in use: 1 client is connected/,
    'remove',
    'disk',
  );
  assert.equal((await status()).state, 'serving');
  await client.close();
  await Promise.all(requests);
  assert.deepEqual(outcomes.sort(), ['read cut off', 'write cut off']);

  const refused = lab.mustFail(
    5,
    /^dm-remap: remove: disk: not removed, the device serves on: 2 requests have no answer, the oldest for 2\d s \(2 at main\); none of it was acknowledged, so no acknowledged data is at risk; "remove --force" ends it all the same$/m,
    'remove',
    'disk',
  );
  await until('the removal', async () => (await status()).state === 'removing');
  await until('stuck requests', async () => (await status()).stuckRequests.count === 2);
  const { oldest } = (await status()).stuckRequests;
  assert.deepEqual(
    new Set(oldest.map(({ kind, offset, length, phase }) => `${kind} ${offset} ${length} ${phase}`)),
    new Set([`read ${4 * mib} 8192 at-main`, `write ${2 * mib} 4096 at-main`]),
  );
  assert.ok(oldest.every(({ ageSeconds }) => ageSeconds >= 10));
  assert.match(
    await lab.mustRun('status', 'disk'),
    /stuck +2 requests have no answer, the oldest for \d+ s \(2 at main\)/,
  );
  const { path: eventPath } = (await status()).eventLog;
  assert.equal(eventKinds(eventPath).filter((kind) => kind === 'stuck-requests').length, 1, 'told once');
  await refused;
  assert.equal((await status()).state, 'serving');

  const identity = lab.identity('disk');
  const startMs = performance.now();
  await lab.mustFail(
    1,
    /^dm-remap: remove: disk: removed, but not cleanly: export failed: 2 requests .*; \d+ requests? at nbd\+unix:.*main\.sock without an answer, left to the kernel; /,
    'remove',
    'disk',
    '--force',
  );
  const tookMs = performance.now() - startMs;
  assert.ok(tookMs < 12_000, `took ${tookMs} ms; the steps of closing take at most 6 s`);
  assert.equal(isRunning(identity), false);
  assert.deepEqual(lab.leftovers(), []);

  server.kill('SIGKILL');
  const revived = await startServer(lab.path('main.img'), lab.path('main.sock'));
  await lab.mustRun('assemble', '--spare', 'spare.img', '--main', uri);
  const again = await lab.connect('disk');
  const bytes = new Uint8Array(mib);
  await again.read(bytes, 0);
  assert.deepEqual(Buffer.from(bytes), Buffer.from(pattern(0, mib, 1)), 'what was flushed is there');
  await again.disconnect();
  await lab.mustRun('remove', 'disk');
  revived.kill('SIGKILL');
  await until('the end of the server', () => revived.exitCode !== null || revived.signalCode !== null);
  assertNothingLeftOver(lab.folder);
});

test('R35 a process that does not turn at all is killed by remove --force, and assembles again', async () => {
  lab.image('main.img', mainBytes);
  lab.image('spare.img', 24 * mib);
  await lab.mustRun('create', 'disk', '--main', 'main.img', '--spare', 'spare.img', '--overwrite-spare');
  const client = await lab.connect('disk');
  await client.write(pattern(0, 4096, 1), 0);
  await client.disconnect();
  const identity = lab.identity('disk');
  process.kill(identity.pid, 'SIGSTOP');
  const startMs = performance.now();
  await lab.mustFail(1, /removed, but not cleanly: its process was killed; /, 'remove', 'disk', '--force');
  const tookMs = performance.now() - startMs;
  assert.ok(tookMs < 10_000, `took ${tookMs} ms; it is killed after 2 s`);
  assert.equal(isRunning(identity), false);
  assert.deepEqual(lab.leftovers(), []);
  await lab.mustRun('assemble', '--spare', 'spare.img');
  const again = await lab.connect('disk');
  const bytes = new Uint8Array(4096);
  await again.read(bytes, 0);
  assert.deepEqual(Buffer.from(bytes), Buffer.from(pattern(0, 4096, 1)));
  await again.disconnect();
  await lab.mustRun('remove', 'disk');
});

test('scan reads all disks at one time: ones that hang cost five seconds, and hide no other', {
  skip: missingTool('nbdfuse', 'nbdkit', 'fusermount3') || missingForMounts(),
}, async () => {
  lab.image('main.img', mainBytes);
  lab.image('spare.img', 24 * mib);
  await lab.mustRun('create', 'disk', '--main', 'main.img', '--spare', 'spare.img', '--overwrite-spare');
  await lab.mustRun('remove', 'disk');
  const { uri } = await stoppableDisk('hung', mib);
  const path = lab.image('file', 0);
  const fuse = spawn('nbdfuse', [path, uri], { stdio: 'ignore' });
  servers.push(fuse);
  try {
    await until('the file', () => statSync(path).size === mib);
    await stop(fuse);
    // As many of them as would take all threads that libuv has by itself.
    const begun = performance.now();
    const output = await lab.mustRun('scan', ...Array<string>(8).fill(path), 'spare.img', '--json');
    const seconds = (performance.now() - begun) / 1000;
    const rows = JSON.parse(output) as { state: string; detail: string; name: string }[];
    assert.deepEqual(rows.pop()!.name, 'disk');
    for (const { state, detail } of rows) {
      assert.equal(state, 'failed');
      assert.match(detail, /no answer within 5 s/);
    }
    assert.ok(seconds < 60, `${seconds} s; one after the other they would take 40`);
  } finally {
    fuse.kill('SIGCONT');
    await until('the unmount', async () => (await runTool('fusermount3', '-u', path)).status === 0);
  }
});
