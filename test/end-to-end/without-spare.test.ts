import assert from 'node:assert/strict';
import { readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { ExitCode } from '../../src/cli/exit-code.ts';
import { DeviceLab, fileHash, pattern } from './device-lab.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;
const granuleBytes = 4096;

let lab: DeviceLab;

beforeEach(async () => {
  lab = new DeviceLab();
  lab.image('main.img', 64 * mib);
  lab.image('spare.img', 32 * mib);
  await lab.mustRun('create', 'disk', '--main', 'main.img', '--spare', 'spare.img');
  const client = await lab.connect('disk');
  await client.write(pattern(0, mib, 1), 0);
  await client.flush();
  await lab.mustRun('message', 'disk', '0', 'remap', '8', '8');
  await client.write(pattern(granuleBytes, granuleBytes, 2), granuleBytes);
  await client.flush();
  await client.disconnect();
});

afterEach(async () => {
  await endLab(lab);
});

const alone = ['assemble', 'disk', '--without-spare'];

test('M13 without its spare a device is read-only: what was moved is EIO, all else is there', async () => {
  await lab.mustRun('remove', 'disk');
  rmSync(lab.path('spare.img'));
  const main = await fileHash(lab.path('main.img'));
  const said = await lab.mustRun(...alone);
  assert.match(said, /without its spare, read-only.*from a clean end and complete/);
  const client = await lab.connect('disk');
  await assert.rejects(client.read(new Uint8Array(granuleBytes), granuleBytes), /EIO/);
  const bytes = new Uint8Array(mib - 2 * granuleBytes);
  await client.read(bytes, 2 * granuleBytes);
  assert.ok(Buffer.from(bytes).equals(pattern(0, mib, 1).subarray(2 * granuleBytes)));
  await assert.rejects(client.write(new Uint8Array(granuleBytes), 0));
  await client.disconnect();
  assert.match(
    await lab.mustRun('status', 'disk', '--line'),
    /remap \S+ - without-spare 1\/0 lost 8 replicas 0\/0/,
  );
  await lab.mustFail(ExitCode.busy, /takes no messages/, 'message', 'disk', '0', 'list');
  await lab.mustRun('table', 'disk');
  await lab.mustRun('ls', '--json');
  const removed = await lab.run('remove', 'disk');
  assert.deepEqual([removed.exitCode, removed.errors], [0, '']);
  assert.equal(await fileHash(lab.path('main.img')), main, 'nothing was written');
});

test('M13 after a kill the copy of the table may be older, and that is said', async () => {
  await lab.kill('disk');
  rmSync(lab.path('spare.img'));
  const uuid = readdirSync(lab.state)[0]!;
  assert.match(
    await lab.mustRun('assemble', uuid, '--without-spare'),
    /less than 60 s before.*may be missing/,
  );
});

test('M13 a message to a device without its spare is refused for its state, by name', async () => {
  await lab.mustRun('remove', 'disk');
  await lab.mustRun(...alone);
  await lab.mustFail(ExitCode.busy, /message: disk: without its spare/, 'message', 'disk', '0', 'list');
  await lab.mustFail(ExitCode.busy, /policy: disk: without its spare/, 'policy', 'disk');
  assert.match(await lab.mustRun('status', 'disk'), /^disk: serving, failing\n/);
  assert.match(await lab.mustRun('ls'), /disk +serving +failing/);
});

test('M13 without a copy of the table, or with a damaged one, a device is refused with one line', async () => {
  await lab.mustRun('remove', 'disk');
  const copy = `${lab.state}/${readdirSync(lab.state)[0]!}/table`;
  const none = ['assemble', 'other', '--without-spare'];
  await lab.mustFail(
    ExitCode.refused,
    /other: cannot be read without its spare: .*no copy of its table/,
    ...none,
  );
  const bytes = Buffer.alloc(700, 7);
  renameSync(copy, `${copy}.away`);
  await lab.mustFail(ExitCode.refused, /disk: cannot be read without its spare: .*no copy/, ...alone);
  writeFileSync(copy, bytes);
  await lab.mustFail(ExitCode.refused, /disk: cannot be read without its spare/, ...alone);
  renameSync(`${copy}.away`, copy);
  await lab.mustFail(ExitCode.usage, /exclude each other/, ...alone, '--spare', 'spare.img');
  await lab.mustFail(ExitCode.usage, /needs its name/, 'assemble', '--without-spare');
  await lab.mustRun(...alone);
});

test('M13 the main of a device without its spare is checked as ever', async () => {
  await lab.mustRun('remove', 'disk');
  lab.image('other.img', 64 * mib);
  lab.image('small.img', 32 * mib);
  const other = [...alone, '--main', 'other.img'];
  await lab.mustFail(ExitCode.refused, /other\.img: is not the main of this device.*--accept-main/, ...other);
  await lab.mustFail(ExitCode.refused, /small\.img: has 33554432 bytes/, ...alone, '--main', 'small.img');
  renameSync(lab.path('main.img'), lab.path('moved.img'));
  await lab.mustFail(ExitCode.notFound, /main\.img: no such file.*--main names another/, ...alone);
  await lab.mustRun(...alone, '--main', 'moved.img');
});
