import assert from 'node:assert/strict';
import { closeSync, copyFileSync, openSync, renameSync, truncateSync, writeSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { ExitCode } from '../../src/cli/exit-code.ts';
import { DeviceLab, fileHash, pattern } from './device-lab.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;

let lab: DeviceLab;

beforeEach(async () => {
  lab = new DeviceLab();
  lab.image('main.img', 64 * mib);
  lab.image('spare.img', 32 * mib);
  await lab.mustRun('create', 'disk', '--main', 'main.img', '--spare', 'spare.img');
  const client = await lab.connect('disk');
  for (let at = 0; at < 64 * mib; at += mib) await client.write(pattern(at, mib, 1), at);
  await client.flush();
  await client.disconnect();
});

afterEach(async () => {
  await endLab(lab);
});

const assemble = ['assemble', '--spare', 'spare.img'];
const remap = ['message', 'disk', '0', 'remap', '8', '8'];

/** Somebody writes to the raw disk. */
function writeRaw(image: string, offset: number, text: string): void {
  const descriptor = openSync(lab.path(image), 'r+');
  writeSync(descriptor, Buffer.from(text), 0, text.length, offset);
  closeSync(descriptor);
}

test('M15 a main that somebody wrote to between two sessions is refused, and what differs is named', async () => {
  await lab.mustRun(...remap);
  await lab.mustRun('remove', 'disk');
  writeRaw('main.img', 0, 'a new partition table');
  const [main, spare] = [await fileHash(lab.path('main.img')), await fileHash(lab.path('spare.img'))];
  const refusal =
    /main\.img: main-changed: 1 of 64 samples differs since the last clean close, first at sector 0/;
  await lab.mustFail(ExitCode.refused, refusal, ...assemble);
  assert.equal(await fileHash(lab.path('main.img')), main);
  assert.equal(await fileHash(lab.path('spare.img')), spare, 'nothing is written before it is refused');
  assert.match(await lab.mustRun(...assemble, '--accept-changes'), /note +main-changed, accepted: 1 of 64/);
  await lab.mustRun('remove', 'disk');
  // It was stamped as it is now.
  await lab.mustRun(...assemble);
});

test('M15 with an empty table a main that was written to is only told of', async () => {
  await lab.mustRun('remove', 'disk');
  writeRaw('main.img', 0, 'a new partition table');
  assert.match(await lab.mustRun(...assemble), /note +main-changed: 1 of 64.*the table is empty/);
});

test('M15 after a kill there is no stamp that could be wrong', async () => {
  await lab.mustRun(...remap);
  await lab.mustRun('remove', 'disk');
  await lab.mustRun(...assemble);
  const client = await lab.connect('disk');
  await client.write(pattern(0, mib, 7).fill(1, 8 * 512, 16 * 512), 0);
  await client.flush();
  await client.close();
  await lab.kill('disk');
  await lab.mustRun(...assemble);
});

test('M15 a copy of main on another disk is adopted when it holds the same', async () => {
  await lab.mustRun(...remap);
  await lab.mustRun('remove', 'disk');
  copyFileSync(lab.path('main.img'), lab.path('clone.img'));
  const ofClone = [...assemble, '--main', 'clone.img'];
  await lab.mustFail(ExitCode.refused, /clone\.img: is not the main of this spare: .*main\.img/, ...ofClone);
  const adopt = ['adopt-main', 'spare.img', '--main', 'clone.img'];
  assert.match(
    await lab.mustRun(...adopt),
    /disk: its main is .*clone\.img now, 64 of 64 samples are the same/,
  );
  await lab.mustRun(...assemble);
  const status = JSON.parse(await lab.mustRun('status', 'disk', '--json')) as { main: { path: string } };
  assert.equal(status.main.path, lab.path('clone.img'));
  await lab.mustFail(ExitCode.busy, /in use/, ...adopt);
  await lab.mustRun('remove', 'disk');
});

test('M15 another disk with other contents is adopted only when the operator insists', async () => {
  await lab.mustRun(...remap);
  await lab.mustRun('remove', 'disk');
  lab.image('blank.img', 64 * mib);
  const adopt = ['adopt-main', 'spare.img', '--main', 'blank.img'];
  const hash = await fileHash(lab.path('spare.img'));
  await lab.mustFail(ExitCode.refused, /blank\.img: main-changed: 64 of 64 samples differ/, ...adopt);
  const accept = [...assemble, '--main', 'blank.img', '--accept-main'];
  await lab.mustFail(ExitCode.refused, /main-changed: 64 of 64/, ...accept);
  assert.equal(await fileHash(lab.path('spare.img')), hash);
  lab.image('small.img', 32 * mib);
  const small = ['adopt-main', 'spare.img', '--main', 'small.img', '--accept-changes'];
  await lab.mustFail(ExitCode.refused, /small\.img: has 33554432 bytes, the table is for 67108864/, ...small);
  await lab.mustRun(...adopt, '--accept-changes');
  await lab.mustRun(...assemble);
});

test('M15 without a clean end there is nothing to compare, and adopt-main says so', async () => {
  await lab.kill('disk');
  copyFileSync(lab.path('main.img'), lab.path('clone.img'));
  const adopt = ['adopt-main', 'spare.img', '--main', 'clone.img'];
  await lab.mustFail(ExitCode.refused, /nothing to compare.*--accept-changes/, ...adopt);
  await lab.mustFail(ExitCode.usage, /which disk is main now\? give --main/, 'adopt-main', 'spare.img');
  await lab.mustRun(...adopt, '--accept-changes', '--json');
  await lab.mustRun(...assemble);
});

test('M15 another file in the place of main is not taken for it unless a person says so', async () => {
  await lab.mustRun('remove', 'disk');
  copyFileSync(lab.path('main.img'), lab.path('other.img'));
  renameSync(lab.path('other.img'), lab.path('main.img'));
  await lab.mustFail(ExitCode.refused, /nobody can tell.*--main .*main\.img/, ...assemble);
  await lab.mustRun(...assemble, '--main', 'main.img');
});

test('M21 a main that has grown is served in its old size until it is resized; a smaller one is refused', async () => {
  await lab.mustRun(...remap);
  await lab.mustFail(ExitCode.busy, /in use/, 'resize', 'spare.img');
  await lab.mustRun('remove', 'disk');
  const sizeNow = async (): Promise<number> =>
    JSON.parse(await lab.mustRun('status', 'disk', '--json')).sizeBytes;
  truncateSync(lab.path('main.img'), 80 * mib);
  await lab.mustRun(...assemble);
  assert.equal(await sizeNow(), 64 * mib);
  await lab.mustRun('remove', 'disk');
  assert.match(await lab.mustRun('resize', 'spare.img'), /80 MiB from now on, before 64 MiB/);
  await lab.mustRun(...assemble);
  assert.equal(await sizeNow(), 80 * mib);
  const client = await lab.connect('disk');
  await client.write(pattern(79 * mib, mib, 2), 79 * mib);
  const found = new Uint8Array(mib);
  await client.read(found, 0);
  assert.deepEqual(found, pattern(0, mib, 1), 'what was moved is there');
  await client.read(found, 79 * mib);
  assert.deepEqual(found, pattern(79 * mib, mib, 2));
  await client.disconnect();
  await lab.mustRun('remove', 'disk');
  truncateSync(lab.path('main.img'), 64 * mib);
  const before = await fileHash(lab.path('spare.img'));
  await lab.mustFail(ExitCode.refused, /main\.img/, 'resize', 'spare.img');
  assert.equal(await fileHash(lab.path('spare.img')), before);
});
