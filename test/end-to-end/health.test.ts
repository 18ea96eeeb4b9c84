import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { HealthStatus } from '../../src/health/health-status.ts';
import { assertShape } from '../cli/json-shapes.ts';
import { FakeSmartctl } from '../control/health/fake-smartctl.ts';
import { DeviceLab } from './device-lab.ts';
import { assertNothingLeftOver } from './nothing-left-over.ts';

const mib = 1_048_576;
const size = 64 * mib;

let lab: DeviceLab;
let fake: FakeSmartctl;

beforeEach(() => {
  lab = new DeviceLab();
  fake = new FakeSmartctl();
});

afterEach(async () => {
  await lab.close();
  fake[Symbol.dispose]();
});

/** `dm-remap health disk --json`. */
async function healthOf(name: string): Promise<HealthStatus | null> {
  const text = await lab.mustRun('health', name, '--json');
  assertShape('health', text);
  const { health }: { health: HealthStatus | null } = JSON.parse(text);
  return health;
}

test('a device is healthy until sectors fail; then its score falls, says why, and is an event; the next session knows it', async () => {
  const main = lab.image('main.img', size);
  const bad = [
    [1000, 8],
    [1016, 2],
    [1040, 6],
  ] as const;
  const table = lab.faultTable('main.table', main, size, bad);
  await lab.mustRun('create', 'disk', '--main-table', table, '--spare', 'spare.img', '--create-spare', '32M');
  const well = await healthOf('disk');
  assert.equal(well?.score, 100);
  assert.deepEqual(well.disks, [], 'a table and an image file have no SMART');
  assert.match(await lab.mustRun('status', 'disk'), /^ {2}score +100 of 100 \(100 is healthy\)$/m);

  const client = await lab.connect('disk');
  await client.write(new Uint8Array(64 * 512).fill(7), 992 * 512);
  await client.close();
  // Events are gathered for a second before they are told.
  let ill = await healthOf('disk');
  while (ill?.growth.badSectorsLastDay !== 24) ill = await healthOf('disk');
  assert.equal(ill.score, 90);
  assert.deepEqual(
    ill.reasons.map(({ rule }) => rule),
    ['growth', 'moved'],
  );
  assert.deepEqual(ill.places?.tenths, [24, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  const text = await lab.mustRun('health', 'disk');
  assert.match(text, /^disk: health 90 of 100 \(100 is healthy\)\n {2}because +.*bad sectors a day/);
  const { remap } = JSON.parse(await lab.mustRun('status', 'disk', '--json'));
  assert.equal(remap.remappedSectors, 24, 'counted by the device itself');
  const events = (await lab.mustRun('events', 'disk', '--kind', 'health-changed', '--json'))
    .trim()
    .split('\n');
  const { level, score, before, reasons } = JSON.parse(events.at(-1)!);
  assert.deepEqual([level, score, before, reasons.length], ['warn', 90, events.length === 1 ? 100 : 95, 2]);

  await lab.mustRun('remove', 'disk');
  const [uuid = ''] = readdirSync(lab.state);
  assert.match(readFileSync(join(lab.state, uuid, 'health'), 'utf8'), /"toldScore":90/);
  await lab.mustRun('assemble', '--spare', 'spare.img', '--main-table', table);
  assert.equal((await healthOf('disk'))?.score, 90, 'remembered, and told no second time');
  const again = await lab.mustRun('events', 'disk', '--kind', 'health-changed', '--json');
  assert.equal(again.trim().split('\n').length, events.length);
  await lab.mustRun('remove', 'disk');
  assertNothingLeftOver(lab.folder);
});

test('I23 with --no-health nobody looks, in the next session neither, and every byte is the same; the policy turns it on', async () => {
  const table = lab.faultTable('main.table', lab.image('main.img', size), size, [[1000, 8]]);
  const disks = ['--main-table', table, '--spare', 'spare.img'];
  const { ended } = lab.startWith(
    { PATH: `${fake.folder}:${process.env['PATH'] ?? ''}` },
    ...['create', 'disk', ...disks, '--create-spare', '32M', '--no-health', '--no-tune'],
  );
  assert.equal(await ended, 0);
  const client = await lab.connect('disk');
  const written = new Uint8Array(64 * 512).map((_, at) => at % 251);
  await client.write(written, 992 * 512);
  assert.equal(await healthOf('disk'), null);
  assert.match(await lab.mustRun('status', 'disk'), /score +nobody watches/);
  const read = new Uint8Array(written.length);
  await client.read(read, 992 * 512);
  assert.deepEqual(read, written);
  await client.close();
  await lab.mustRun('remove', 'disk');
  const [uuid = ''] = readdirSync(lab.state);
  assert.equal(existsSync(join(lab.state, uuid, 'health')), false);
  assert.deepEqual(fake.calls(), []);
  await lab.mustRun('assemble', ...disks.slice(2), ...disks.slice(0, 2));
  assert.match(await lab.mustRun('policy', 'disk'), /^health off\ntune off$/m);
  assert.equal(await healthOf('disk'), null);
  await lab.mustRun('policy', 'disk', 'health', 'on');
  assert.equal((await healthOf('disk'))?.score, 90, 'what happened meanwhile is in the event log');
  await lab.mustRun('remove', 'disk');
  assertNothingLeftOver(lab.folder);
});
