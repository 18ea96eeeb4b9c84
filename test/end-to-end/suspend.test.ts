import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { DeviceLab, pattern } from './device-lab.ts';

const mib = 1_048_576;
const mainBytes = 16 * mib;

let lab: DeviceLab;

beforeEach(() => {
  lab = new DeviceLab();
});

afterEach(async () => {
  await lab.close();
});

async function stateOf(name: string): Promise<string> {
  const status: { state: string } = JSON.parse(await lab.mustRun('status', name, '--json'));
  return status.state;
}

test('R30, I21 suspend and resume under load over a failing disk: nothing is lost, nobody is told twice', async () => {
  const main = lab.image('main.img', mainBytes);
  const table = lab.faultTable('main.table', main, mainBytes, [
    [1000, 2],
    [9000, 1],
  ]);
  lab.image('spare.img', 24 * mib);
  await lab.mustRun('create', 'disk', '--main-table', table, '--spare', 'spare.img', '--overwrite-spare');
  const client = await lab.connect('disk');
  let stop = false;
  let answered = 0;
  const versions = new Map<number, number>();
  const writers = Array.from({ length: 8 }, async (_, writer) => {
    const region = writer * (mainBytes / 8);
    for (let round = 1; !stop; round += 1) {
      const at = region + ((round * 64 * 1024) % (mainBytes / 8));
      await client.write(pattern(at, 64 * 1024, round % 200), at);
      versions.set(at, round % 200);
      answered += 1;
    }
  });
  for (let round = 0; round < 3; round += 1) {
    while (answered < (round + 1) * 40) await new Promise((resolve) => setTimeout(resolve, 5));
    await lab.mustRun('suspend', 'disk', ...(round === 1 ? ['--noflush'] : []));
    assert.equal(await stateOf('disk'), 'suspended');
    assert.match(await lab.mustRun('ls'), /^disk +suspended /m);
    assert.match(await lab.mustRun('status', 'disk'), /^disk: suspended, /);
    // Without a flush, what was under way may still end.
    await new Promise((resolve) => setTimeout(resolve, 100));
    const before = answered;
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
    assert.equal(answered, before, 'nothing is answered while suspended');
    await lab.mustRun('resume', 'disk');
    assert.equal(await stateOf('disk'), 'serving');
  }
  stop = true;
  await Promise.all(writers);
  for (const [at, round] of versions) {
    const bytes = new Uint8Array(64 * 1024);
    await client.read(bytes, at);
    assert.ok(Buffer.from(bytes).equals(pattern(at, bytes.length, round)), `byte ${at}`);
  }
  await client.disconnect();
  await lab.mustRun('remove', 'disk');
  assert.deepEqual(lab.leftovers(), []);
});

test('R30 a device that comes and goes as a table says is removed while suspended', async () => {
  const main = lab.image('main.img', mainBytes);
  writeFileSync(lab.path('main.table'), `0 ${mainBytes / 512} flakey ${main} 0 3600 1\n`);
  lab.image('spare.img', 24 * mib);
  await lab.mustRun(
    'create',
    'disk',
    '--main-table',
    'main.table',
    '--spare',
    'spare.img',
    '--overwrite-spare',
  );
  assert.match(await lab.mustRun('table', 'disk'), /flakey .* 0 3600 1 2 error_reads error_writes/);
  const client = await lab.connect('disk');
  await client.write(pattern(0, 4096, 1), 0);
  await lab.mustRun('suspend', 'disk');
  const held = client.read(new Uint8Array(4096), 0).then(
    () => 'answered',
    (error: unknown) => String(error),
  );
  await new Promise((resolve) => setTimeout(resolve, 50));
  await lab.mustRun('remove', 'disk');
  assert.match(await held, /ESHUTDOWN/);
  assert.deepEqual(lab.leftovers(), []);
  await lab.mustFail(3, /disk: no such device/, 'suspend', 'disk');
  await lab.mustFail(3, /disk: no such device/, 'resume', 'disk');
  assert.match(await lab.mustRun('examine', 'spare.img'), /closed +cleanly/);
});
