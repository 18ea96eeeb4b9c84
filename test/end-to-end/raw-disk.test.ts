import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { ExitCode } from '../../src/cli/exit-code.ts';
import { DeviceLab, pattern } from './device-lab.ts';
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

async function moveAndWrite(): Promise<void> {
  await lab.mustRun('message', 'disk', '0', 'remap', '8', '8');
  const client = await lab.connect('disk');
  await client.write(pattern(granuleBytes, granuleBytes, 3), granuleBytes);
  await client.flush();
  await client.disconnect();
}

function mainGranule(): Buffer {
  return readFileSync(lab.path('main.img')).subarray(granuleBytes, 2 * granuleBytes);
}

test('M16 remove warns while the raw disk alone has not all data, and only then', async () => {
  assert.equal((await lab.run('remove', 'disk')).errors, '');
  await lab.mustRun('assemble', '--spare', 'spare.img');
  await moveAndWrite();
  const removed = await lab.run('remove', 'disk');
  assert.equal(removed.exitCode, 0);
  const warning =
    /^dm-remap: remove: warning: .*main\.img alone has not all data: 8 sectors are on .*spare\.img, 0 are lost/;
  assert.match(removed.errors, warning);
  await lab.mustRun('assemble', '--spare', 'spare.img');
  const json = await lab.run('remove', 'disk', '--json');
  assert.equal((JSON.parse(json.output) as { warnings: string[] }).warnings.length, 1);
});

test('M16 retire brings all data home; then main can be used alone', async () => {
  await moveAndWrite();
  assert.ok(!mainGranule().equals(pattern(granuleBytes, granuleBytes, 3)), 'it was moved');
  const said = await lab.mustRun('retire', 'disk');
  assert.match(said, /the table is empty/);
  assert.match(said, /to free the spare: dm-remap remove disk && dm-remap wipe .*spare\.img --yes/);
  assert.equal((await lab.run('remove', 'disk')).errors, '');
  assert.ok(mainGranule().equals(pattern(granuleBytes, granuleBytes, 3)));
});

test('M16 retire --yes removes the device and wipes its spare too', async () => {
  await moveAndWrite();
  assert.match(await lab.mustRun('retire', 'disk', '--yes'), /spare\.img: wiped/);
  assert.ok(mainGranule().equals(pattern(granuleBytes, granuleBytes, 3)));
  await lab.mustFail(ExitCode.notASpare, /not a dm-remap spare/, 'examine', 'spare.img');
  await lab.mustFail(ExitCode.notFound, /no such device/, 'retire', 'disk');
});

test('M16 what main cannot take back stays, and nothing is removed or wiped', async () => {
  await lab.mustRun('remove', 'disk');
  const table = lab.faultTable('main.table', lab.path('main.img'), 64 * mib, [[8, 8]]);
  await lab.mustRun('assemble', '--spare', 'spare.img', '--main-table', table);
  const client = await lab.connect('disk');
  await client.write(pattern(granuleBytes, granuleBytes, 3), granuleBytes);
  await client.flush();
  await lab.mustFail(
    ExitCode.failed,
    /disk: not all could be brought home: 8 sectors stay/,
    'retire',
    'disk',
    '--yes',
  );
  const bytes = new Uint8Array(granuleBytes);
  await client.read(bytes, granuleBytes);
  await client.disconnect();
  assert.ok(Buffer.from(bytes).equals(pattern(granuleBytes, granuleBytes, 3)));
});
