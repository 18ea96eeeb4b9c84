import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import { afterEach, beforeEach, test } from 'node:test';
import { DeviceLab } from './device-lab.ts';
import { missingForMounts, missingTool, mustRunTool } from './foreign-tool.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;
/** Where udev keeps what it knows; a machine with udev has its own. */
const udevData = '/run/udev/data';
const skip =
  missingTool('losetup') || missingForMounts() || (existsSync('/run/udev') && 'a udev is at work here');

let lab: DeviceLab;
let undo: (() => Promise<unknown>)[];

beforeEach(() => {
  lab = new DeviceLab();
  undo = [];
});

afterEach(async () => {
  try {
    await lab.run('remove', 'disk', '--force');
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
    delete process.env['DM_REMAP_HIDDEN_DIR'];
  } finally {
    await endLab(lab);
  }
});

/** A block device, of which udev says a serial. */
async function diskWithSerial(serial: string): Promise<string> {
  const image = lab.image('main.img', 64 * mib);
  const path = (await mustRunTool('losetup', '--find', '--show', '--direct-io=on', image)).trim();
  undo.push(() => mustRunTool('losetup', '--detach', path));
  mkdirSync(udevData, { recursive: true });
  const record = `${udevData}/b7:${path.replace('/dev/loop', '')}`;
  writeFileSync(record, `E:ID_SERIAL=DISK_${serial}\nE:ID_SERIAL_SHORT=${serial}\n`);
  undo.push(async () => {
    rmSync(record);
    for (const folder of [udevData, '/run/udev']) if (readdirSync(folder).length === 0) rmdirSync(folder);
  });
  return path;
}

test('M16 a main is hidden while blocks are elsewhere, over a stop of its service, and until it is removed with an empty table', {
  skip,
}, async () => {
  const marks = lab.path('hidden');
  mkdirSync(marks);
  process.env['DM_REMAP_HIDDEN_DIR'] = marks;
  const main = await diskWithSerial(`TEST-${process.pid}`);
  const mark = [`serial-DISK_TEST-${process.pid}`];
  lab.image('spare.img', 32 * mib);
  await lab.mustRun('create', 'disk', '--main', main, '--spare', 'spare.img');
  assert.deepEqual(readdirSync(marks), mark, 'before its first write');
  await lab.mustRun('remove', 'disk');
  assert.deepEqual(readdirSync(marks), []);

  const served = lab.start('serve', 'disk');
  while (!/"kind":"serving"/.test(served.errors())) {
    assert.equal(served.child.exitCode, null, served.errors());
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  served.child.kill('SIGTERM');
  assert.equal(await served.ended, 0);
  assert.deepEqual(readdirSync(marks), mark, 'the next boot must not mount it');

  await lab.mustRun('assemble', 'disk');
  await lab.mustRun('message', 'disk', '0', 'remap', '8', '8');
  await lab.mustRun('remove', 'disk');
  assert.deepEqual(readdirSync(marks), mark);
  await lab.mustRun('assemble', 'disk');
  await lab.mustRun('retire', 'disk');
  await lab.mustRun('remove', 'disk');
  assert.deepEqual(readdirSync(marks), []);
});
