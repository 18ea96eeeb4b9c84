import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, renameSync, symlinkSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { programPath } from '../../bench/program-path.ts';
import { DeviceLab } from './device-lab.ts';

const mib = 1_048_576;
const distribution = fileURLToPath(new URL('../..', import.meta.url));
const project = dirname(distribution);

let lab: DeviceLab;

beforeEach(() => {
  lab = new DeviceLab();
});

afterEach(async () => {
  await lab.close();
});

/** The compiler's modules are read when they are needed; nobody installs them as a program. */
const skip = programPath().endsWith('.cjs') ? false : 'made of older sources: node scripts/bundle.mjs';

test('a device serves, heals, answers and ends without its program: everything is in memory from the start', {
  skip,
}, async () => {
  const installed = lab.path('installed');
  mkdirSync(join(installed, 'dist'), { recursive: true });
  const part = relative(distribution, lab.program).split(sep)[0]!;
  cpSync(join(distribution, part), join(installed, 'dist', part), { recursive: true });
  copyFileSync(join(project, 'package.json'), join(installed, 'package.json'));
  symlinkSync(join(project, 'node_modules'), join(installed, 'node_modules'));
  const main = lab.image('main.img', 32 * mib);
  const table = lab.faultTable('main.table', main, 32 * mib, [
    [1000, 1],
    [9000, 8],
  ]);
  const spare = lab.image('spare.img', 24 * mib);
  const words = ['create', 'disk', '--main-table', table, '--spare', spare];
  await promisify(execFile)(
    process.execPath,
    [join(installed, 'dist', relative(distribution, lab.program)), ...words],
    {
      env: { ...process.env, DM_REMAP_RUNTIME_DIR: lab.runtime, DM_REMAP_STATE_DIR: lab.state },
    },
  );
  // From here on a module that was not loaded yet cannot be: as when its file system waits for this very process.
  renameSync(installed, lab.path('gone'));
  const client = await lab.connect('disk');
  const bytes = new Uint8Array(64 * 1024).fill(7);
  await client.write(bytes, 992 * 512);
  await client.flush();
  await client.read(bytes.fill(0), 992 * 512);
  assert.ok(
    bytes.every((byte) => byte === 7),
    'a bad sector has moved',
  );
  await assert.rejects(client.read(new Uint8Array(4096), 9000 * 512), 'a sector that nobody can read');
  assert.match(await lab.mustRun('message', 'disk', '0', 'list'), /1000/);
  assert.match(await lab.mustRun('message', 'disk', '0', 'lost'), /9000/);
  await lab.mustRun('suspend', 'disk');
  await lab.mustRun('resume', 'disk');
  await client.write(bytes, 9000 * 512 - 32 * 1024);
  const { remap } = JSON.parse(await lab.mustRun('status', 'disk', '--json'));
  assert.equal(remap.unreadableSectors, 0);
  assert.ok(remap.remappedGranules >= 2);
  await client.close();
  await lab.mustRun('remove', 'disk');
  assert.deepEqual(lab.leftovers(), []);
});
