import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import type { DeviceStatus } from '../../src/device/messages.ts';
import type { NbdClient } from '../../src/nbd/client.ts';
import { DeviceLab, pattern } from './device-lab.ts';
import { missingTool } from './foreign-tool.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;
const mainBytes = 16 * mib;
const pieceBytes = 65_536;
/** Bad sectors that every circumstance can move, one a piece. */
const badStarts = Array.from({ length: 40 }, (_, at) => 1_000 + at * 700);

/** What is the matter with the device when a verb comes. */
interface Circumstance {
  readonly name: string;
  readonly bad: number;
  /** Writes keep coming and may be in flight at any verb. */
  readonly underLoad: boolean;
}

const circumstances: readonly Circumstance[] = [
  { name: 'no remap', bad: 0, underLoad: false },
  { name: 'one remap', bad: 1, underLoad: false },
  { name: 'many remaps', bad: 40, underLoad: false },
  { name: 'requests and moves in flight', bad: 40, underLoad: true },
];

let lab: DeviceLab;
let server: ChildProcess | undefined;

beforeEach(() => {
  lab = new DeviceLab();
  server = undefined;
});

afterEach(async () => {
  await lab.run('remove', 'disk', '--force');
  server?.kill('SIGKILL');
  await endLab(lab);
});

/** A client that writes on and on, each piece with a new version, and knows what was acknowledged. */
class Load {
  readonly versions = new Map<number, number>();
  readonly #client: NbdClient;
  #stop = false;
  readonly #ended: Promise<void>;
  acknowledged = 0;

  constructor(client: NbdClient) {
    this.#client = client;
    this.#ended = this.#write();
  }

  async #write(): Promise<void> {
    for (let round = 0; !this.#stop; round += 1) {
      const at = (round * pieceBytes) % mainBytes;
      const version = 10 + (round % 200);
      try {
        await this.#client.write(pattern(at, pieceBytes, version), at);
      } catch {
        // Cut off by a removal or a kill: this piece may hold either version.
        this.versions.delete(at);
        return;
      }
      this.versions.set(at, version);
      this.acknowledged += 1;
    }
  }

  async stop(): Promise<void> {
    this.#stop = true;
    await this.#ended;
  }
}

async function status(): Promise<DeviceStatus> {
  return JSON.parse(await lab.mustRun('status', 'disk', '--json'));
}

async function compare(versions: ReadonlyMap<number, number>): Promise<void> {
  const client = await lab.connect('disk');
  const bytes = new Uint8Array(pieceBytes);
  for (const [at, version] of versions) {
    await client.read(bytes, at);
    assert.ok(Buffer.from(bytes).equals(pattern(at, pieceBytes, version)), `version ${version}, byte ${at}`);
  }
  await client.disconnect();
}

/** Every piece with version 1, durable. */
async function fill(): Promise<Map<number, number>> {
  const client = await lab.connect('disk');
  const versions = new Map<number, number>();
  for (let at = 0; at < mainBytes; at += pieceBytes) {
    await client.write(pattern(at, pieceBytes, 1), at);
    versions.set(at, 1);
  }
  await client.flush();
  await client.disconnect();
  return versions;
}

for (const { name, bad, underLoad } of circumstances) {
  test(`I21 every verb with ${name}: create, status, table, message, suspend, resume, retire, remove, assemble, kill`, async () => {
    const main = lab.image('main.img', mainBytes);
    const runs = badStarts.slice(0, bad).map((start) => [start, 1] as const);
    const table = lab.faultTable('main.table', main, mainBytes, runs);
    lab.image('spare.img', 24 * mib);
    const assemble = ['assemble', '--main-table', table, '--spare', 'spare.img'];
    await lab.mustRun('create', 'disk', '--main-table', table, '--spare', 'spare.img', '--overwrite-spare');
    const versions = await fill();
    assert.equal((await status()).remap.remappedGranules, bad, 'I17');
    let load = underLoad ? new Load(await lab.connect('disk')) : undefined;

    assert.equal((await status()).state, 'serving');
    assert.match(await lab.mustRun('table', 'disk'), /^0 32768 remap /);
    const listed = await lab.mustRun('message', 'disk', '0', 'list');
    assert.equal(listed.split('\n').filter((line) => /^\d+ \d+ /.test(line)).length, bad);

    for (const words of [[], ['--noflush']]) {
      await lab.mustRun('suspend', 'disk', ...words);
      assert.equal((await status()).state, 'suspended');
      await lab.mustRun('table', 'disk');
      await lab.mustRun('message', 'disk', '0', 'list');
      await lab.mustFail(
        5,
        /the device is suspended: resume it before 'remap'/,
        'message',
        'disk',
        '0',
        'remap',
        '8',
      );
      await lab.mustRun('resume', 'disk');
      assert.equal((await status()).state, 'serving');
    }

    // Main still fails: what was moved stays where it is, and retire says so.
    const retired = await lab.run('retire', 'disk');
    assert.equal(retired.exitCode, bad === 0 ? 0 : 1, retired.errors);
    assert.equal((await status()).remap.remappedGranules, bad);

    if (load !== undefined) {
      await lab.mustFail(5, /in use: 1 client is connected/, 'remove', 'disk');
      const before = load.acknowledged;
      while (load.acknowledged === before) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await lab.mustRun('remove', 'disk', ...(load === undefined ? [] : ['--force']));
    await load?.stop();
    for (const [at, version] of load?.versions ?? []) versions.set(at, version);
    assert.deepEqual(lab.leftovers(), [], 'I24');

    await lab.mustRun(...assemble);
    if (load === undefined) await compare(versions);
    else await compare(load.versions);
    load = underLoad ? new Load(await lab.connect('disk')) : undefined;
    while (load !== undefined && load.acknowledged < 5)
      await new Promise((resolve) => setTimeout(resolve, 5));
    await lab.kill('disk');
    await load?.stop();
    await lab.mustFail(3, /its process was killed/, 'suspend', 'disk');
    await lab.mustRun(...assemble);
    await compare(load?.versions ?? versions);
    assert.equal((await status()).remap.remappedGranules, bad);
    await lab.mustRun('remove', 'disk');
    assert.deepEqual(lab.leftovers(), []);
  });
}

/** A spare that fails every write for as long as a file is there. */
async function failableSpare(sizeBytes: number): Promise<string> {
  const image = lab.image('spare.img', sizeBytes);
  const socket = lab.path('spare.sock');
  const failing = [`error-file=${lab.path('failing')}`, 'error-pwrite-rate=100%', 'error-pwrite=EIO'];
  server = spawn('nbdkit', ['-f', '-U', socket, '--filter=error', 'file', image, ...failing], {
    stdio: 'ignore',
  });
  for (let waits = 0; !existsSync(socket); waits += 1) {
    assert.ok(waits < 500, 'nbdkit does not start');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return `nbd+unix:///?socket=${socket}`;
}

test('I21 every verb with a failing spare: what is on it stays readable, and the device ends and comes back', {
  skip: missingTool('nbdkit'),
}, async () => {
  const main = lab.image('main.img', mainBytes);
  const runs = badStarts.slice(0, 10).map((start) => [start, 1] as const);
  const table = lab.faultTable('main.table', main, mainBytes, runs);
  const spare = await failableSpare(24 * mib);
  const assemble = ['assemble', '--main-table', table, '--spare', spare];
  await lab.mustRun('create', 'disk', '--main-table', table, '--spare', spare, '--overwrite-spare');
  const versions = await fill();
  writeFileSync(lab.path('failing'), '');

  assert.equal((await status()).remap.remappedGranules, 10);
  await lab.mustRun('table', 'disk');
  await lab.mustRun('message', 'disk', '0', 'list');
  await compare(versions);
  await lab.mustRun('suspend', 'disk');
  assert.equal((await status()).state, 'suspended');
  await lab.mustRun('resume', 'disk');
  await compare(versions);
  assert.equal((await lab.run('retire', 'disk')).exitCode, 1);
  const startMs = performance.now();
  const removed = await lab.run('remove', 'disk', '--force');
  assert.ok([0, 1].includes(removed.exitCode), removed.errors);
  assert.ok(performance.now() - startMs < 15_000);
  assert.deepEqual(lab.leftovers(), []);
  const refused = await lab.run(...assemble);
  assert.ok(refused.exitCode > 0 && refused.exitCode < 70, refused.errors);
  assert.deepEqual(lab.leftovers(), []);

  rmSync(lab.path('failing'));
  await lab.mustRun(...assemble);
  await compare(versions);
  writeFileSync(lab.path('failing'), '');
  await lab.kill('disk');
  rmSync(lab.path('failing'));
  await lab.mustRun(...assemble);
  await compare(versions);
  await lab.mustRun('remove', 'disk');
});
