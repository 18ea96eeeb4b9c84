import assert from 'node:assert/strict';
import { closeSync, openSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ExitCode } from '../../src/cli/exit-code.ts';
import type { NbdClient } from '../../src/nbd/client.ts';
import { DeviceLab, pattern } from './device-lab.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;
const mainBytes = 64 * mib;
const spareBytes = 32 * mib;

let lab: DeviceLab;
let client: NbdClient;

beforeEach(async () => {
  lab = new DeviceLab();
  lab.image('main.img', mainBytes);
  lab.image('spare.img', spareBytes);
  const create = ['create', 'disk', '--main', 'main.img', '--spare', 'spare.img'];
  await lab.mustRun(...create, '--path-timeout', '0');
  client = await lab.connect('disk');
  for (const at of [0, 4 * mib, 12 * mib]) await client.write(pattern(at, mib, 1), at);
  await client.flush();
  // Sectors 8 to 15 live on the spare from now on.
  await lab.mustRun('message', 'disk', '0', 'remap', '8', '8');
});

afterEach(async () => {
  await endLab(lab);
});

const assemble = ['assemble', '--spare', 'spare.img'];
const moved = 8 * 512;

async function untilCut(name: string): Promise<void> {
  for (;;) {
    const events = await lab.mustRun('events', 'disk', '--kind', 'file-cut', '--json');
    if (events.includes(name)) return;
    await sleep(20);
  }
}

/**
 * A write behind the new end, which makes the file grow again, and a flush. The device may have found out before the write, then
 * that is the error; acknowledged and flushed it must not be.
 */
async function writeAndFlush(offset: number): Promise<void> {
  const bytes = pattern(offset, 4096, 2);
  await assert.rejects(client.write(bytes, offset).then(() => client.flush()));
}

/** What a client finds: all bytes, or undefined where it gets an error. */
async function read(offset: number): Promise<Uint8Array | undefined> {
  const bytes = new Uint8Array(4096);
  try {
    await client.read(bytes, offset);
  } catch {
    return undefined;
  }
  return bytes;
}

test('a main that is cut while it is served gives errors and no zeros, also when it has its size back', async () => {
  truncateSync(lab.path('main.img'), mib);
  // Made to grow again by the device itself, far behind what is read below.
  await writeAndFlush(12 * mib);
  await untilCut('main.img');
  assert.equal(await read(4 * mib), undefined);
  assert.equal(await read(0), undefined);
  assert.deepEqual(await read(moved), pattern(moved, 4096, 1), 'what is on the spare is there');
  truncateSync(lab.path('main.img'), mainBytes);
  await lab.mustRun('suspend', 'disk', '--noflush');
  await lab.mustFail(
    ExitCode.refused,
    /main\.img: was cut to \d+ bytes while it was served/,
    'resume',
    'disk',
  );
  await client.disconnect();
  await lab.run('remove', 'disk', '--force');
  const refusal =
    /main\.img: main-changed: it was cut to \d+ bytes while it was served, and what lay behind is lost/;
  await lab.mustFail(ExitCode.refused, refusal, ...assemble);
  assert.match(
    await lab.mustRun(...assemble, '--accept-changes'),
    /note +main-changed, accepted: it was cut/,
  );
  await lab.mustRun('remove', 'disk');
  await lab.mustRun(...assemble);
});

test('a main that is cut and served till it is killed is refused when it has its size back', async () => {
  truncateSync(lab.path('main.img'), mib);
  await writeAndFlush(12 * mib);
  await untilCut('main.img');
  await lab.kill('disk');
  truncateSync(lab.path('main.img'), mainBytes);
  await lab.mustFail(ExitCode.refused, /main-changed: it was cut/, ...assemble);
});

test('a spare that is cut while it is served acknowledges nothing, and what lay on it is never zeros', async () => {
  truncateSync(lab.path('spare.img'), 0);
  await writeAndFlush(moved);
  await untilCut('spare.img');
  assert.equal(await read(moved), undefined);
  assert.deepEqual(await read(4 * mib), pattern(4 * mib, 4096, 1), 'healthy sectors are served');
  assert.notEqual((await lab.run('message', 'disk', '0', 'remap', '80', '8')).exitCode, 0);
  await client.disconnect();
  await lab.run('remove', 'disk', '--force');
  truncateSync(lab.path('spare.img'), spareBytes);
  assert.notEqual((await lab.run(...assemble)).exitCode, 0);
});

/** Cuts the image in front of its first slot, behind the first replica, and gives it its size back. */
function cutSpare(slotSector: number): void {
  truncateSync(lab.path('spare.img'), slotSector * 512);
  truncateSync(lab.path('spare.img'), spareBytes);
}

test('a spare that was cut between two sessions is refused; by force what lay there is gone, not zeros', async () => {
  await client.disconnect();
  const [, , slotSector] = (await lab.mustRun('message', 'disk', '0', 'list')).split(' ');
  await lab.mustRun('remove', 'disk');
  cutSpare(Number(slotSector));
  const refusal =
    /spare\.img: spare-cut: was cut and made as large again: replica 1 of its metadata is empty, and so are the places of 1 moved granules/;
  await lab.mustFail(ExitCode.refused, refusal, ...assemble);
  await lab.mustFail(ExitCode.refused, refusal, 'metadata', 'repair', 'spare.img', '--yes');
  assert.match(
    await lab.mustRun(...assemble, '--force'),
    /note +the spare was cut .* 1 moved granules, which are gone/,
  );
  client = await lab.connect('disk');
  assert.equal(await read(moved), undefined);
  assert.deepEqual(await read(4 * mib), pattern(4 * mib, 4096, 1));
  await client.disconnect();
  await lab.mustRun('remove', 'disk');
  assert.match(await lab.mustRun(...assemble), /disk/, 'it is a spare like any other again');
  client = await lab.connect('disk');
  assert.equal(await read(moved), undefined);
  await client.disconnect();
});

test('a dump restored onto a spare that was cut brings no zeros back: it is refused, and by force what lay there is gone', async () => {
  await client.disconnect();
  const [, , slotSector] = (await lab.mustRun('message', 'disk', '0', 'list')).split(' ');
  await lab.mustRun('remove', 'disk');
  writeFileSync(lab.path('table.dump'), await lab.mustRun('metadata', 'dump', 'spare.img'));
  cutSpare(Number(slotSector));
  const restore = ['metadata', 'restore', 'table.dump', 'spare.img'];
  await lab.mustFail(
    ExitCode.refused,
    /spare\.img: spare-cut: was cut .*metadata restore --force/,
    ...restore,
    '--yes',
  );
  assert.match(await lab.mustRun(...restore, '--yes', '--force'), /the spare was cut .*which are gone/);
  assert.match(await lab.mustRun(...assemble), /disk/);
  client = await lab.connect('disk');
  assert.equal(await read(moved), undefined);
  assert.deepEqual(await read(4 * mib), pattern(4 * mib, 4096, 1));
  await client.disconnect();
});

test('a spare with a replica that somebody wrote over is opened as ever', async () => {
  await client.disconnect();
  await lab.mustRun('remove', 'disk');
  const descriptor = openSync(lab.path('spare.img'), 'r+');
  writeSync(descriptor, new Uint8Array(mib).fill(7), 0, mib, spareBytes - mib);
  closeSync(descriptor);
  assert.match(await lab.mustRun(...assemble), /metadata replica 1 was damaged and was rewritten/);
  client = await lab.connect('disk');
  assert.deepEqual(await read(moved), pattern(moved, 4096, 1));
  await client.disconnect();
});
