import assert from 'node:assert/strict';
import { copyFileSync, renameSync, rmSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { ExitCode } from '../../src/cli/exit-code.ts';
import { DeviceLab, fileHash } from './device-lab.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;

let lab: DeviceLab;

beforeEach(async () => {
  lab = new DeviceLab();
  lab.image('main.img', 64 * mib);
  lab.image('spare.img', 32 * mib);
  await lab.mustRun('create', 'disk', '--main', 'main.img', '--spare', 'spare.img');
});

afterEach(async () => {
  await endLab(lab);
});

function copy(from: string, to: string): void {
  copyFileSync(lab.path(from), lab.path(to));
}

const assemble = ['assemble', '--spare', 'spare.img'];

test('M12 a copy of a spare is refused until it is adopted, and then the original is the older one', async () => {
  await lab.mustRun('message', 'disk', '0', 'remap', '8', '8');
  await lab.mustRun('remove', 'disk');
  copy('spare.img', 'copy.img');
  const hash = await fileHash(lab.path('copy.img'));
  const ofCopy = ['assemble', '--spare', 'copy.img'];
  await lab.mustFail(ExitCode.refused, /copy\.img: is a copy.*spare\.img.*dm-remap adopt/, ...ofCopy);
  assert.equal(await fileHash(lab.path('copy.img')), hash);
  assert.match(await lab.mustRun('adopt', 'copy.img'), /disk: its spare is copy\.img now/);
  await lab.mustFail(ExitCode.refused, /spare\.img: spare-rolled-back/, ...assemble);
  await lab.mustRun(...ofCopy);
  await lab.mustFail(ExitCode.busy, /copy\.img: in use/, 'adopt', 'copy.img');
});

test('M12 what a killed session left is in the log, also when adopt and not assemble finds it', async () => {
  await lab.kill('disk');
  copy('spare.img', 'copy.img');
  await lab.mustRun('adopt', 'copy.img');
  await lab.mustRun('assemble', '--spare', 'copy.img');
  const events = await lab.mustRun('events', 'disk', '--kind', 'unclean-end', 'took-over', '--json');
  const lines = events
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { kind: string; sequence: number });
  assert.deepEqual(
    lines.map(({ kind }) => kind),
    ['unclean-end', 'took-over'],
  );
  assert.equal(lines[1]!.sequence, lines[0]!.sequence + 1);
});

test('M12 of two copies without their original both are refused', async () => {
  await lab.mustRun('remove', 'disk');
  copy('spare.img', 'one.img');
  copy('spare.img', 'two.img');
  rmSync(lab.path('spare.img'));
  for (const name of ['one.img', 'two.img']) {
    await lab.mustFail(ExitCode.refused, /is a copy of a spare/, 'assemble', '--spare', name);
  }
  // A file that was only renamed is itself.
  await lab.mustRun('adopt', 'one.img');
  renameSync(lab.path('one.img'), lab.path('spare.img'));
  await lab.mustRun(...assemble);
});

test('M12 adopt refuses an older copy without --force, and what is no spare', async () => {
  await lab.mustRun('remove', 'disk');
  copy('spare.img', 'copy.img');
  await lab.mustRun(...assemble);
  await lab.mustRun('message', 'disk', '0', 'remap', '8', '8');
  await lab.mustRun('remove', 'disk');
  await lab.mustFail(ExitCode.refused, /spare-rolled-back.*adopt .*--force/, 'adopt', 'copy.img');
  await lab.mustFail(ExitCode.notASpare, /main\.img: not a dm-remap spare/, 'adopt', 'main.img');
  await lab.mustFail(ExitCode.notFound, /none\.img/, 'adopt', 'none.img');
  assert.match(await lab.mustRun('adopt', 'copy.img', '--force', '--json'), /older spare by force/);
});

test('M12 a copy is not adopted while its original is served, not even by force', async () => {
  await lab.mustRun('remove', 'disk');
  copy('spare.img', 'copy.img');
  await lab.mustRun(...assemble);
  const hash = await fileHash(lab.path('copy.img'));
  for (const words of [
    ['adopt', 'copy.img'],
    ['adopt', 'copy.img', '--force', '--force-takeover'],
  ]) {
    await lab.mustFail(
      ExitCode.busy,
      /copy\.img: is a copy of the spare of disk, which is served from .*spare\.img now: remove disk first/,
      ...words,
    );
  }
  assert.equal(await fileHash(lab.path('copy.img')), hash);
});
