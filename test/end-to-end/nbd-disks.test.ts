import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { DeviceLab, pattern } from './device-lab.ts';
import { missingTool } from './foreign-tool.ts';

const mib = 1_048_576;
const mainBytes = 16 * mib;
const spareBytes = 24 * mib;

let lab: DeviceLab;
let servers: ChildProcess[];

beforeEach(() => {
  lab = new DeviceLab();
  servers = [];
});

afterEach(async () => {
  await lab.close();
  for (const server of servers) server.kill('SIGKILL');
});

async function until(what: string, condition: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 1000; attempt += 1) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail(`${what} did not come`);
}

/** An NBD server that nobody here wrote, on a socket of the lab. */
async function serve(tool: string, socket: string, ...words: readonly string[]): Promise<ChildProcess> {
  rmSync(lab.path(socket), { force: true });
  const child = spawn(tool, words, { cwd: lab.folder, stdio: 'ignore' });
  servers.push(child);
  await until(`the socket of ${tool}`, () => existsSync(lab.path(socket)));
  return child;
}

async function stop(server: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => {
    server.once('exit', resolve);
  });
  server.kill('SIGKILL');
  await ended;
}

function nbdkit(image: string): Promise<ChildProcess> {
  return serve('nbdkit', 'spare.sock', '-f', '-U', lab.path('spare.sock'), 'file', image);
}

function qemu(image: string): Promise<ChildProcess> {
  return serve(
    'qemu-nbd',
    'main.sock',
    '--persistent',
    '--shared=4',
    '--format=raw',
    '--cache=writeback',
    `--socket=${lab.path('main.sock')}`,
    image,
  );
}

const uri = (socket: string): string => `nbd+unix:///?socket=${lab.path(socket)}`;

async function writeRegions(device: string, round: number): Promise<void> {
  const client = await lab.connect(device);
  for (let at = 0; at < mainBytes; at += mib) await client.write(pattern(at, mib, round), at);
  await client.flush();
  await client.disconnect();
}

async function compareRegions(device: string, round: number): Promise<void> {
  const client = await lab.connect(device);
  const bytes = new Uint8Array(mib);
  for (let at = 0; at < mainBytes; at += mib) {
    await client.read(bytes, at);
    assert.ok(Buffer.from(bytes).equals(pattern(at, mib, round)), `byte ${at}`);
  }
  await client.disconnect();
}

test('R33 a spare behind nbdkit takes bad sectors, and gives them back after its server was killed', {
  skip: missingTool('nbdkit'),
}, async () => {
  const main = lab.image('main.img', mainBytes);
  const table = lab.faultTable('main.table', main, mainBytes, [
    [1000, 2],
    [9000, 1],
    [30_000, 1],
  ]);
  lab.image('spare.img', spareBytes);
  const first = await nbdkit('spare.img');
  const spare = uri('spare.sock');
  await lab.mustRun('create', 'disk', '--main-table', table, '--spare', spare, '--overwrite-spare');
  await writeRegions('disk', 1);
  const status: {
    spare: { path: string; access: string };
    remap: { remappedGranules: number; state: string };
  } = JSON.parse(await lab.mustRun('status', 'disk', '--json'));
  assert.deepEqual([status.spare.path, status.spare.access], [spare, 'nbd']);
  assert.equal(status.remap.remappedGranules, 3);
  await compareRegions('disk', 1);

  await stop(first);
  const client = await lab.connect('disk');
  const healthy = new Uint8Array(4096);
  await client.read(healthy, 8 * mib);
  const moved = new Uint8Array(4096);
  const held = client.read(moved, 1000 * 512 - ((1000 * 512) % 4096));
  await new Promise((resolve) => setTimeout(resolve, 200));
  const second = await nbdkit('spare.img');
  await held;
  // What was moved had been flushed, so nothing of this client's is in doubt (R7).
  await client.flush();
  await client.disconnect();
  await compareRegions('disk', 1);
  await writeRegions('disk', 2);
  await compareRegions('disk', 2);
  await lab.mustRun('remove', 'disk');

  await lab.mustRun('assemble', '--spare', spare);
  await compareRegions('disk', 2);
  await lab.mustRun('remove', 'disk');
  assert.match(await lab.mustRun('examine', spare), /closed +cleanly/);
  await stop(second);
  await lab.mustFail(3, /spare\.sock/, 'assemble', '--spare', spare);
});

test('R33 a main behind qemu-nbd that is killed under load and comes back: no error, no remap, every byte', {
  skip: missingTool('qemu-nbd'),
}, async () => {
  const image = lab.image('main.img', mainBytes);
  lab.image('spare.img', spareBytes);
  let server = await qemu(image);
  await lab.mustRun(
    'create',
    'disk',
    '--main',
    uri('main.sock'),
    '--spare',
    'spare.img',
    '--overwrite-spare',
  );
  const client = await lab.connect('disk');
  let stopWriting = false;
  let answered = 0;
  const versions = new Map<number, number>();
  const writers = Array.from({ length: 4 }, async (_, writer) => {
    const region = (writer * mainBytes) / 4;
    for (let round = 1; !stopWriting; round += 1) {
      const at = region + ((round * 16_384) % (mainBytes / 4));
      await client.write(pattern(at, 16_384, round % 200), at);
      versions.set(at, round % 200);
      answered += 1;
    }
  });
  for (let round = 1; round <= 3; round += 1) {
    await until('answers', () => answered > round * 100);
    await stop(server);
    await new Promise((resolve) => setTimeout(resolve, 300));
    server = await qemu(image);
  }
  await until('answers', () => answered > 600);
  stopWriting = true;
  await Promise.all(writers);
  for (const [at, round] of versions) {
    const bytes = new Uint8Array(16_384);
    await client.read(bytes, at);
    assert.ok(Buffer.from(bytes).equals(pattern(at, bytes.length, round)), `byte ${at}`);
  }
  // Its connection was lost with writes that nobody had flushed: told once (R7).
  await assert.rejects(client.flush(), /EIO/);
  await client.flush();
  await client.disconnect();
  const status: { remap: { remappedGranules: number; state: string } } = JSON.parse(
    await lab.mustRun('status', 'disk', '--json'),
  );
  assert.deepEqual([status.remap.remappedGranules, status.remap.state], [0, 'ok']);
  await lab.mustRun('remove', 'disk');
  await stop(server);
  const stored = readFileSync(image);
  for (const [at, round] of versions) {
    assert.ok(stored.subarray(at, at + 16_384).equals(pattern(at, 16_384, round)), `byte ${at} of the image`);
  }
});

test('R33 what is no URI of ours, or a spare that cannot be flushed, is refused in one line', {
  skip: missingTool('nbdkit'),
}, async () => {
  lab.image('main.img', mainBytes);
  lab.image('spare.img', spareBytes);
  const spareOf = (spare: string) => [
    'create',
    'disk',
    '--main',
    'main.img',
    '--spare',
    spare,
    '--overwrite-spare',
  ];
  await lab.mustFail(2, /TLS and vsock are not/, ...spareOf('nbds://host/disk'));
  await lab.mustFail(2, /names no socket/, ...spareOf('nbd+unix:///disk'));
  await lab.mustFail(3, /none\.sock/, ...spareOf(uri('none.sock')));
  await serve(
    'nbdkit',
    'spare.sock',
    '-f',
    '-U',
    lab.path('spare.sock'),
    'eval',
    'get_size=echo 25165824',
    'can_write=exit 0',
    'can_flush=exit 3',
    'pread=dd if=/dev/zero count=$3 iflag=count_bytes 2>/dev/null',
    'pwrite=cat >/dev/null',
  );
  await lab.mustFail(4, /offers no flush/, ...spareOf(uri('spare.sock')));
  assert.deepEqual(lab.leftovers(), []);
});
