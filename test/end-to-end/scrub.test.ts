import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ControlClient } from '../../src/control/client.ts';
import type { ScrubStatus } from '../../src/device/messages.ts';
import { assertShape } from '../cli/json-shapes.ts';
import { CountedDisk } from './counted-disk.ts';
import { DeviceLab, pattern } from './device-lab.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;
const mainBytes = 32 * mib;

let lab: DeviceLab;
let disk: CountedDisk | undefined;

beforeEach(() => {
  lab = new DeviceLab();
});

afterEach(async () => {
  await endLab(lab);
  await disk?.close();
  disk = undefined;
});

function control(): ControlClient {
  return new ControlClient(join(lab.runtime, 'disk', 'control.sock'));
}

async function scrub(...words: readonly string[]): Promise<ScrubStatus> {
  if (words.length > 0) await control().message(0, ['scrub', ...words]);
  const { scrub: status } = await control().status();
  assert.ok(status !== null);
  return status;
}

async function until(done: (status: ScrubStatus) => boolean): Promise<ScrubStatus> {
  for (;;) {
    const status = await scrub();
    if (done(status)) return status;
    await sleep(20);
  }
}

test('a scrub reads what main has and nothing else: what it shows is what arrived at the disk', async () => {
  disk = new CountedDisk(lab, { sizeBytes: mainBytes, name: 'counted' });
  lab.image('spare.img', 32 * mib);
  await lab.mustRun('create', 'disk', '--main', disk.uri, '--spare', 'spare.img');
  const client = await lab.connect('disk');
  await client.write(pattern(0, mib, 1), 0);
  await client.flush();
  await client.disconnect();
  await control().message(0, ['remap', '800', '64']);
  await control().message(0, ['import', 'suspect', '9000', '3']);
  const before = disk.bytesRead;
  const said = await lab.mustRun('scrub', 'disk', 'start', '--rate', '0', '--wait');
  const arrived = disk.bytesRead - before;
  const { remap } = await control().status();
  assert.equal(remap.unreadableSectors, 3);
  assert.equal(arrived, mainBytes - (remap.remappedSectors + remap.unreadableSectors) * 512);
  const status = await scrub();
  const [last] = status.ended;
  assert.equal(last?.end, 'finished');
  assert.equal(last.counts.mainBytes, arrived);
  assert.equal(last.counts.spareBytes, remap.remappedSectors * 512);
  assert.equal(status.totals.mainBytes, arrived);
  // In a pipe: lines, no bar.
  assert.match(said, /^disk: scrub \d+ % \([^)]*of 32 MiB\)/);
  assert.match(said, / finished .* nothing bad\n$/);
  assert.match(await lab.mustRun('status', 'disk'), /\n {2}scrub +finished 20.* UTC, nothing bad\n/);
  assert.match(
    await lab.mustRun('events', 'disk'),
    /scrub finished in \d+ s; 32\.0 MiB of main and 32 KiB of slots read/,
  );
  await lab.mustRun('remove', 'disk', '--force');
});

test('a scrub goes on where it was behind SIGKILL, behind remove, and when it was paused', async () => {
  lab.image('main.img', mainBytes);
  lab.image('spare.img', 32 * mib);
  await lab.mustRun('create', 'disk', '--main', 'main.img', '--spare', 'spare.img');
  await lab.mustRun('scrub', 'disk', 'start', '--rate', '8');
  await until(({ positionBytes }) => positionBytes >= 2 * mib);
  const paused = await scrub('pause');
  assert.equal(paused.state, 'paused');
  await lab.kill('disk');
  await lab.mustRun('assemble', '--spare', 'spare.img');
  const found = await scrub();
  assert.equal(found.state, 'paused', 'what somebody paused stays paused');
  assert.equal(found.positionBytes, paused.positionBytes);
  await scrub('resume');
  await until(({ positionBytes }) => positionBytes >= paused.positionBytes + 2 * mib);
  await lab.mustRun('remove', 'disk');
  await lab.mustRun('assemble', '--spare', 'spare.img');
  const again = await scrub();
  assert.equal(again.state, 'running');
  assert.ok(again.positionBytes >= paused.positionBytes + 2 * mib);
  const stopped = await scrub('stop');
  assert.equal(stopped.state, 'idle');
  assert.equal(stopped.ended[0]?.end, 'stopped');
  const said = await lab.mustRun('scrub', 'disk', 'start', '--rate', '0', '--wait', '--json');
  assertShape('scrub', said);
  const { ended, saves }: ScrubStatus = JSON.parse(said).scrub;
  assert.deepEqual(
    ended.map(({ end, counts }) => [end, counts.mainBytes === mainBytes]),
    [
      ['finished', true],
      ['stopped', false],
    ],
  );
  assert.ok(saves <= 4, `${saves} writes of the superblocks for it`);
  await lab.mustRun('remove', 'disk');
});
