import assert from 'node:assert/strict';
import { copyFileSync, rmSync, writeFileSync } from 'node:fs';
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
});

afterEach(async () => {
  await endLab(lab);
});

function copy(from: string, to: string): void {
  copyFileSync(lab.path(from), lab.path(to));
}

const assemble = ['assemble', '--spare', 'spare.img'];

async function writeGranule(granule: number, round: number): Promise<void> {
  const client = await lab.connect('disk');
  await client.write(pattern(granule * granuleBytes, granuleBytes, round), granule * granuleBytes);
  await client.flush();
  await client.disconnect();
}

test('M12 an older spare put back over the newer one is refused, naming both sequences, unless forced', async () => {
  await lab.mustRun('message', 'disk', '0', 'remap', '8', '8');
  await lab.mustRun('remove', 'disk');
  copy('spare.img', 'backup.img');
  await lab.mustRun(...assemble);
  await lab.mustRun('message', 'disk', '0', 'remap', '80', '8');
  await lab.mustRun('remove', 'disk');
  copy('spare.img', 'newest.img');
  copy('backup.img', 'spare.img');
  const before = await fileHash(lab.path('spare.img'));
  const refusal = /spare-rolled-back: this host knows sequence (\d+), the spare has (\d+).*--force/;
  await lab.mustFail(ExitCode.refused, refusal, ...assemble);
  assert.equal(await fileHash(lab.path('spare.img')), before, 'nothing is written before it is refused');
  copy('newest.img', 'spare.img');
  await lab.mustRun(...assemble);
  await lab.mustRun('remove', 'disk');
  copy('backup.img', 'spare.img');
  assert.match(await lab.mustRun(...assemble, '--force'), /opened an older spare by force/);
  await lab.mustRun('remove', 'disk');
  // From now on it is the newest.
  await lab.mustRun(...assemble);
});

test('M12 a spare from before bytes in a slot were written over is older, though no record came since', async () => {
  await lab.mustRun('message', 'disk', '0', 'remap', '8', '8');
  await lab.mustRun('remove', 'disk');
  copy('spare.img', 'backup.img');
  await lab.mustRun(...assemble);
  await writeGranule(1, 2);
  await lab.mustRun('remove', 'disk');
  copy('backup.img', 'spare.img');
  await lab.mustFail(ExitCode.refused, /spare-rolled-back: .*its session is an older one/, ...assemble);
});

test('M12 a spare that was copied while it served is older than the one that was closed', async () => {
  await lab.mustRun('message', 'disk', '0', 'remap', '8', '8');
  copy('spare.img', 'backup.img');
  await writeGranule(1, 3);
  await lab.mustRun('remove', 'disk');
  copy('backup.img', 'spare.img');
  await lab.mustFail(
    ExitCode.refused,
    /spare-rolled-back: .*taken before the device was closed/,
    ...assemble,
  );
});

test('M12 after a kill the spare is as new as the host knows, and another host has nothing to object', async () => {
  await lab.mustRun('message', 'disk', '0', 'remap', '8', '8');
  await lab.kill('disk');
  await lab.mustRun(...assemble);
  await lab.mustRun('remove', 'disk');
  lab.state = lab.path('other-host');
  await lab.mustRun(...assemble);
  await lab.mustRun('message', 'disk', '0', 'remap', '80', '8');
  await lab.mustRun('remove', 'disk');
  lab.state = lab.path('state');
  await lab.mustRun(...assemble);
});

test('M12 a damaged note of the host is as good as none', async () => {
  const { uuid } = JSON.parse(await lab.mustRun('status', 'disk', '--json')) as { uuid: string };
  await lab.mustRun('remove', 'disk');
  for (const name of ['session', 'table']) writeFileSync(`${lab.state}/${uuid}/${name}`, 'nonsense');
  await lab.mustRun(...assemble);
});

test('M12 a device serves where the host can remember nothing, and says so', async () => {
  await lab.mustRun('remove', 'disk');
  rmSync(lab.state, { recursive: true });
  writeFileSync(lab.state, 'no folder');
  await lab.mustRun(...assemble);
  let told = '';
  for (let attempt = 0; attempt < 200 && told === ''; attempt += 1) {
    const status = JSON.parse(await lab.mustRun('status', 'disk', '--json')) as {
      hostState: { trouble: string };
    };
    told = status.hostState.trouble;
  }
  assert.match(told, /cannot be written: .*ENOTDIR/);
  assert.match(await lab.mustRun('status', 'disk'), /host +copy of the table cannot be written/);
});
