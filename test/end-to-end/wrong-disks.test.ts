import assert from 'node:assert/strict';
import { copyFileSync, existsSync, renameSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { ExitCode } from '../../src/cli/exit-code.ts';
import { DeviceLab, fileHash } from './device-lab.ts';

const mib = 1_048_576;

let lab: DeviceLab;

beforeEach(async () => {
  lab = new DeviceLab();
  lab.image('main.img', 64 * mib);
  lab.image('spare.img', 32 * mib);
  await lab.mustRun('create', 'disk', '--main', 'main.img', '--spare', 'spare.img');
});

afterEach(async () => {
  await lab.close();
});

test('disks of a serving device are busy for everybody else', async () => {
  lab.image('other.img', 32 * mib);
  const create = ['create', 'second', '--main', 'main.img', '--spare', 'other.img'];
  await lab.mustFail(ExitCode.busy, /main\.img: in use/, ...create);
  await lab.mustFail(ExitCode.busy, /spare\.img: in use/, 'assemble', 'second', '--spare', 'spare.img');
  await lab.mustFail(
    ExitCode.busy,
    /disk: .*exists already/,
    'create',
    'disk',
    '--main',
    'a',
    '--spare',
    'b',
  );
  await lab.mustRun('remove', 'disk');
  assert.deepEqual(lab.leftovers(), []);
});

test('M15 a main that is not the one of the spare is refused, naming both, until it is accepted', async () => {
  await lab.mustRun('remove', 'disk');
  copyFileSync(lab.path('main.img'), lab.path('copy.img'));
  const [spare, copy] = [await fileHash(lab.path('spare.img')), await fileHash(lab.path('copy.img'))];
  const words = ['assemble', '--spare', 'spare.img', '--main', 'copy.img'];
  await lab.mustFail(
    ExitCode.refused,
    /copy\.img: is not the main of this spare: .*main\.img.*copy\.img/,
    ...words,
  );
  assert.deepEqual(
    [await fileHash(lab.path('spare.img')), await fileHash(lab.path('copy.img'))],
    [spare, copy],
  );
  assert.deepEqual(lab.leftovers(), []);
  assert.match(await lab.mustRun(...words, '--accept-main'), /note +main was changed/);
  await lab.mustRun('remove', 'disk');
  // From now on it is the main.
  await lab.mustRun('assemble', '--spare', 'spare.img');
  await lab.mustRun('remove', 'disk');
});

test('M15 a smaller main is refused even when it is accepted', async () => {
  await lab.mustRun('remove', 'disk');
  lab.image('smaller.img', 63 * mib);
  const words = ['assemble', '--spare', 'spare.img', '--main', 'smaller.img'];
  const told = /smaller\.img: is \d+ bytes, and was \d+ when its table was made(?!.*--accept-main)/;
  await lab.mustFail(ExitCode.refused, told, ...words);
  await lab.mustFail(ExitCode.refused, told, ...words, '--accept-main');
});

test('M15 a main that was renamed is still the same', async () => {
  await lab.mustRun('remove', 'disk');
  renameSync(lab.path('main.img'), lab.path('moved.img'));
  await lab.mustFail(
    ExitCode.notFound,
    /main\.img: no such file.*--main names/,
    'assemble',
    '--spare',
    'spare.img',
  );
  await lab.mustRun('assemble', '--spare', 'spare.img', '--main', 'moved.img');
  await lab.mustRun('remove', 'disk');
});

test('M17 main and spare swapped is refused whatever is forced', async () => {
  await lab.mustRun('remove', 'disk');
  const swapped = ['create', 'again', '--main', 'spare.img', '--spare', 'main.img', '--overwrite-spare'];
  const before = await fileHash(lab.path('main.img'));
  await lab.mustFail(ExitCode.refused, /spare\.img: given as main, but it is a dm-remap spare/, ...swapped);
  assert.equal(await fileHash(lab.path('main.img')), before);
});

test('M17 a spare in service is not formatted again without being told', async () => {
  await lab.mustRun('remove', 'disk');
  const again = ['create', 'again', '--main', 'main.img', '--spare', 'spare.img'];
  const before = await fileHash(lab.path('spare.img'));
  await lab.mustFail(ExitCode.refused, /dm-remap spare \(of disk\) already.*assemble/, ...again);
  assert.equal(await fileHash(lab.path('spare.img')), before);
  await lab.mustRun(...again, '--overwrite-spare');
  await lab.mustRun('remove', 'again');
});

test('M17 an existing file is never taken by --create-spare', async () => {
  await lab.mustRun('remove', 'disk');
  const words = ['create', 'again', '--main', 'main.img', '--spare', 'spare.img', '--create-spare', '32M'];
  await lab.mustFail(ExitCode.refused, /exists already/, ...words);
  await lab.mustRun('create', 'new', '--main', 'main.img', '--spare', 'fresh.img', '--create-spare', '32M');
  await lab.mustRun('remove', 'new');
});

test('M17 a spare that a refused create made itself is taken back, and is not in the way of the next try', async () => {
  await lab.mustRun('remove', 'disk');
  const words = ['create', 'new', '--main', 'main.img', '--spare', 'fresh.img', '--create-spare'];
  await lab.mustFail(ExitCode.refused, /fresh\.img: spare is 1 MiB, needs at least/, ...words, '1M');
  assert.equal(existsSync(lab.path('fresh.img')), false);
  await lab.mustRun(...words, '32M');
  await lab.mustRun('remove', 'new');
});
