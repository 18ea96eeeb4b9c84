import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ControlClient } from '../../src/control/client.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { writeFailCountMax } from '../../src/targets/dust-blocks.ts';
import { remappedGranules } from './bad-disk.ts';
import { DeviceLab } from './device-lab.ts';
import { DyingDisk } from './dying-disk.ts';
import { endLab } from './nothing-left-over.ts';
import { sectorBytes, sectorsPerGranule } from './sector-versions.ts';

const mebibyte = 1024 * 1024;
const mainBytes = 32 * mebibyte;
const sectorCount = mainBytes / sectorBytes;
const kills = 4;
const clients = 3;
const writersPerClient = 16;
const readersPerClient = 4;
const trafficMsMax = 40_000;
const trafficMs = 1500;

let lab: DeviceLab;

beforeEach(() => {
  lab = new DeviceLab();
});

afterEach(() => endLab(lab));

/** At least `trafficMs`, and on a busy machine longer: what counts is what was written, not the time it took. */
async function untilEnough(enough: () => boolean): Promise<void> {
  await sleep(trafficMs);
  for (let waitedMs = 0; !enough() && waitedMs < trafficMsMax; waitedMs += 100) await sleep(100);
}

test(`R4 I12 I20 on a disk that gets worse under ${clients} clients, killed ${kills} times, every byte read is the right one`, async () => {
  const control = new ControlClient(join(lab.runtime, 'disk', 'control.sock'));
  const disk = new DyingDisk(new SeededRandom('growing-faults'), sectorCount, async (sector) => {
    await control.message(0, ['main', '0', 'addbadblock', String(sector), String(writeFailCountMax)]);
  });
  const table = lab.path('main.table');
  writeFileSync(table, `0 ${sectorCount} dust ${lab.image('main.img', mainBytes)} 0 ${sectorBytes}\n`);
  lab.image('spare.img', 32 * mebibyte);
  await lab.mustRun('create', 'disk', '--main-table', table, '--spare', 'spare.img');
  await control.message(0, ['main', '0', 'enable']);
  for (let kill = 0; kill < kills; kill += 1) {
    const before = { written: disk.written, readBack: disk.readBack, bad: disk.bad.size };
    disk.alive = true;
    const traffic = [disk.grow()];
    for (let index = 0; index < clients; index += 1) {
      const client = await lab.connect('disk');
      for (let writer = 0; writer < writersPerClient; writer += 1) traffic.push(disk.write(client));
      for (let reader = 0; reader < readersPerClient; reader += 1) traffic.push(disk.read(client));
    }
    const enough = (): boolean =>
      disk.written > before.written + 100 &&
      disk.readBack > before.readBack + 100 &&
      disk.bad.size > before.bad + 50;
    await Promise.race([untilEnough(enough), Promise.all(traffic)]);
    disk.alive = false;
    await lab.kill('disk');
    await Promise.all(traffic);
    assert.ok(enough(), 'there was traffic, and the disk got worse');

    await lab.mustRun('assemble', '--main-table', table, '--spare', 'spare.img');
    // A table is new with its process.
    await control.message(0, ['main', '0', 'enable']);
    await disk.restoreFaults();
    const reader = await lab.connect('disk');
    await disk.settle(reader);
    await reader.disconnect();
  }
  const badGranules = new Set([...disk.bad.keys()].map((sector) => Math.floor(sector / sectorsPerGranule)));
  const moved = await remappedGranules(lab, 'disk');
  assert.deepEqual(
    moved.filter((granule) => !badGranules.has(granule)),
    [],
    'I17: nothing healthy was moved',
  );
  assert.ok(moved.length > badGranules.size / 8, `${moved.length} moved`);
  assert.ok(disk.lost < disk.bad.size, 'most were written again');
});
