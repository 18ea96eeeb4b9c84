import assert from 'node:assert/strict';
import { renameSync, truncateSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { ExitCode } from '../../src/cli/exit-code.ts';
import { assertShape } from '../cli/json-shapes.ts';
import { DeviceLab, pattern } from './device-lab.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;
const granuleBytes = 4096;
/** More than the home has: the others must take some. */
const granuleCount = 1100;

const onMain = ['--main-table', 'main.table'];

let lab: DeviceLab;

beforeEach(() => {
  lab = new DeviceLab();
  lab.image('main.img', 64 * mib);
  lab.image('home.img', 22 * mib);
  lab.image('a.img', 8 * mib);
  lab.image('b.img', 16 * mib);
  const bad = granuleCount * 8;
  const rest = 64 * 2048 - bad;
  writeFileSync(
    lab.path('main.table'),
    `0 ${bad} error\n${bad} ${rest} linear ${lab.path('main.img')} ${bad}\n`,
  );
});

afterEach(async () => {
  await endLab(lab);
});

/** Blocks that main does not take. */
async function fill(round: number): Promise<void> {
  const client = await lab.connect('disk');
  const part = 256 * granuleBytes;
  for (let at = 0; at < granuleCount * granuleBytes; at += part) {
    const length = Math.min(part, granuleCount * granuleBytes - at);
    await client.write(pattern(at, length, round), at);
  }
  await client.flush();
  await client.disconnect();
}

async function assertFilled(round: number): Promise<void> {
  const client = await lab.connect('disk');
  const bytes = Buffer.alloc(granuleCount * granuleBytes);
  await client.read(bytes, 0);
  await client.disconnect();
  assert.deepEqual(bytes, Buffer.from(pattern(0, bytes.length, round)));
}

async function spares(): Promise<{ place: string; state: string; slotsUsed: number; slotsFree: number }[]> {
  const said = await lab.mustRun('spare', 'list', 'disk', '--json');
  assertShape('spare-list', said);
  return JSON.parse(said).spares;
}

test('a device that gets more spares and gives them back: every byte is there all the time', async () => {
  await lab.mustRun('create', 'disk', ...onMain, '--spare', 'home.img');
  const added = await lab.mustRun('spare', 'add', 'disk', 'a.img', '--check-spare', '--json');
  assertShape('spare-add', added);
  await lab.mustRun('spare', 'add', 'disk', 'b.img');
  await fill(1);
  const before = await spares();
  assert.deepEqual(
    before.map(({ place }) => place),
    ['spare', 'spare-1', 'spare-2'],
  );
  assert.ok(before[0]!.state === 'full' && before[1]!.slotsUsed > 0, JSON.stringify(before));
  await lab.mustFail(
    ExitCode.failed,
    /carries the metadata.*spare replace/,
    'spare',
    'remove',
    'disk',
    'home.img',
  );
  await lab.mustFail(ExitCode.failed, /is no spare of this device/, 'spare', 'remove', 'disk', 'main.img');
  await lab.mustFail(ExitCode.failed, /main\.img/, 'spare', 'add', 'disk', 'main.img', '--overwrite-spare');
  await lab.kill('disk');
  assert.match(await lab.mustRun('scan', 'home.img', 'a.img', 'b.img'), /a\.img +other-spare +disk/);
  await lab.mustFail(ExitCode.refused, /one of several spares of disk/, 'assemble', '--spare', 'a.img');
  await lab.mustRun('assemble', ...onMain, '--spare', 'home.img');
  await assertFilled(1);
  const removed = await lab.mustRun('spare', 'remove', 'disk', 'a.img', '--json');
  assertShape('spare-remove', removed);
  await assertFilled(1);
  assert.match(await lab.mustRun('scan', 'a.img'), /a\.img +no-spare/);
  await lab.mustRun('remove', 'disk');
  await lab.mustRun('assemble', ...onMain, '--spare', 'home.img');
  await assertFilled(1);
  const left = await spares();
  assert.deepEqual(
    left.map(({ slotsUsed }) => slotsUsed).reduce((sum, used) => sum + used),
    granuleCount,
  );
  await lab.mustFail(
    ExitCode.failed,
    /have room for 0: add a spare first/,
    'spare',
    'remove',
    'disk',
    'b.img',
  );
});

test('R4 a spare that is lost leaves its blocks errors; given up, they are gone and listed, and can be written', async () => {
  await lab.mustRun('create', 'disk', ...onMain, '--spare', 'home.img');
  await lab.mustRun('spare', 'add', 'disk', 'b.img');
  await fill(1);
  const [, other] = await spares();
  await lab.mustRun('remove', 'disk');
  renameSync(lab.path('b.img'), lab.path('away.img'));
  assert.match(await lab.mustRun('assemble', ...onMain, '--spare', 'home.img'), /b\.img is not there/);
  assert.equal((await spares())[1]!.state, 'failed');
  const client = await lab.connect('disk');
  const last = (granuleCount - 1) * granuleBytes;
  await assert.rejects(client.read(Buffer.alloc(granuleBytes), last));
  await client.read(Buffer.alloc(granuleBytes), 0);
  await lab.mustFail(ExitCode.failed, /does not answer/, 'spare', 'remove', 'disk', 'b.img');
  await lab.mustFail(ExitCode.refused, /--yes/, 'spare', 'remove', 'disk', 'b.img', '--give-up');
  const said = await lab.mustRun('spare', 'remove', 'disk', 'spare-1', '--give-up', '--yes');
  assert.match(said, new RegExp(`${8 * other!.slotsUsed} sectors are gone`));
  assert.match(await lab.mustRun('message', 'disk', '0', 'lost'), /gone/);
  // Another one in its place.
  await lab.mustRun('spare', 'add', 'disk', 'a.img');
  await client.write(pattern(last, granuleBytes, 3), last);
  const bytes = Buffer.alloc(granuleBytes);
  await client.read(bytes, last);
  assert.deepEqual(bytes, Buffer.from(pattern(last, granuleBytes, 3)));
  await client.disconnect();
});

test('a spare image that was cut and made as large again is not believed', async () => {
  await lab.mustRun('create', 'disk', ...onMain, '--spare', 'home.img');
  await lab.mustRun('spare', 'add', 'disk', 'b.img');
  await fill(1);
  await lab.mustRun('remove', 'disk');
  truncateSync(lab.path('b.img'), 4 * mib);
  truncateSync(lab.path('b.img'), 16 * mib);
  assert.match(
    await lab.mustRun('assemble', ...onMain, '--spare', 'home.img'),
    /it was cut, or written over/,
  );
  const client = await lab.connect('disk');
  await assert.rejects(client.read(Buffer.alloc(granuleBytes), (granuleCount - 1) * granuleBytes));
  await client.disconnect();
});
