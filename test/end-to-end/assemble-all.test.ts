import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { ExitCode } from '../../src/cli/exit-code.ts';
import { assertShape } from '../cli/json-shapes.ts';
import { DeviceLab } from './device-lab.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;

let lab: DeviceLab;

beforeEach(async () => {
  lab = new DeviceLab();
  lab.image('main.img', 64 * mib);
  lab.image('spare.img', 32 * mib);
  await lab.mustRun('create', 'disk', '--main', 'main.img', '--spare', 'spare.img');
  await lab.mustRun('remove', 'disk');
});

afterEach(async () => {
  await endLab(lab);
});

interface Told {
  readonly name: string;
  readonly sparePath: string;
  readonly result: string;
  readonly why: string;
}

/** What is said of this test's device; the machine may have spares of others. */
async function tell(...words: readonly string[]): Promise<Told> {
  const { output, errors } = await lab.run('assemble', '--all', '--json', ...words);
  assert.equal(errors, '');
  assertShape('assemble-all', output);
  const ours = (JSON.parse(output) as Told[]).filter(({ sparePath }) => sparePath.startsWith(lab.folder));
  assert.equal(ours.length, 1, output);
  return ours[0]!;
}

test('M15 after a boot all that belongs together is served, and a second time changes nothing', async () => {
  const asked = await tell('--dry-run');
  assert.deepEqual([asked.name, asked.result], ['disk', 'would-start']);
  assert.match(asked.why, /main\.img names itself as its main, .*spare\.img is its spare/);
  await lab.mustFail(ExitCode.notFound, /disk: no such device/, 'status', 'disk');
  assert.equal((await tell()).result, 'started');
  assert.match(await lab.mustRun('status', 'disk'), /^disk: serving, ok/);
  assert.equal((await tell()).result, 'served');
});

test('M15 a main that another file has taken the place of is refused, one that is away is waited for', async () => {
  copyFileSync(lab.path('main.img'), lab.path('other.img'));
  renameSync(lab.path('main.img'), lab.path('away.img'));
  assert.equal((await tell()).result, 'waiting');
  await lab.mustFail(ExitCode.notFound, /disk: its main is not there/, 'assemble', 'disk');
  renameSync(lab.path('other.img'), lab.path('main.img'));
  const refused = await tell();
  assert.equal(refused.result, 'refused');
  assert.match(refused.why, /nothing proves that .*main\.img/);
  await lab.mustFail(ExitCode.refused, /disk: nothing proves/, 'assemble', 'disk');
  rmSync(lab.path('main.img'));
  renameSync(lab.path('away.img'), lab.path('main.img'));
  await lab.mustRun('assemble', 'disk');
  await lab.mustFail(ExitCode.busy, /disk: served as disk/, 'assemble', 'disk');
});

test('M12 a spare that an older state was put back onto is not served, and the reason is said', async () => {
  const older = readFileSync(lab.path('spare.img'));
  await lab.mustRun('assemble', 'disk');
  await lab.mustRun('message', 'disk', '0', 'remap', '8', '8');
  await lab.mustRun('remove', 'disk');
  writeFileSync(lab.path('spare.img'), older);
  const told = await tell();
  assert.equal(told.result, 'failed');
  assert.match(told.why, /spare-rolled-back/);
});

test('a name is waited for until its disks are there', async () => {
  renameSync(lab.path('spare.img'), lab.path('away.img'));
  await lab.mustFail(
    ExitCode.notFound,
    /disk: no disk of this machine carries its spare/,
    'assemble',
    'disk',
  );
  const waiting = lab.start('assemble', 'disk', '--wait', '600');
  await new Promise((resolve) => setTimeout(resolve, 500));
  renameSync(lab.path('away.img'), lab.path('spare.img'));
  assert.equal(await waiting.ended, 0, waiting.errors());
  assert.match(waiting.output(), /^disk: serving/);
});

test('what is about one device is refused beside --all', async () => {
  for (const words of [['disk'], ['--spare', 'spare.img'], ['--force'], ['--accept-main'], ['--wait', '5']]) {
    await lab.mustFail(ExitCode.usage, /--all takes no name/, 'assemble', '--all', ...words);
  }
  await lab.mustFail(ExitCode.usage, /--dry-run is for --all/, 'assemble', 'disk', '--dry-run');
  await lab.mustFail(ExitCode.usage, /--wait soon: expected seconds/, 'assemble', 'disk', '--wait', 'soon');
});
