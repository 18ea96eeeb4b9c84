import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ControlClient } from '../../src/control/client.ts';
import type { NbdClient } from '../../src/nbd/client.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { writeFailCountMax } from '../../src/targets/dust-blocks.ts';
import { remappedGranules } from './bad-disk.ts';
import { DeviceLab } from './device-lab.ts';
import { endLab } from './nothing-left-over.ts';
import { fillSectors, SectorVersions, sectorBytes, sectorsPerGranule } from './sector-versions.ts';

const mebibyte = 1024 * 1024;
const mainBytes = 32 * mebibyte;
const sectorCount = mainBytes / sectorBytes;
const granuleCount = sectorCount / sectorsPerGranule;
const kills = 4;
const clients = 3;
const writersPerClient = 16;
const readersPerClient = 4;
const trafficMs = 1500;

let lab: DeviceLab;

beforeEach(() => {
  lab = new DeviceLab();
});

afterEach(() => endLab(lab));

/** A disk that gets worse while it is in use, and what its users may then see. */
class DyingDisk {
  readonly versions: SectorVersions = new SectorVersions(sectorCount);
  /** Sectors that are bad, or about to be, and the last write that began before that was certain. */
  readonly bad = new Map<number, number>();
  readonly #busy = new Set<number>();
  readonly #random: SeededRandom;
  alive = false;
  written = 0;
  readBack = 0;
  lost = 0;

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  /** Makes sectors bad at chance places, also below requests under way, until the process dies. */
  async grow(control: ControlClient): Promise<void> {
    while (this.alive) {
      const sector = this.#random.below(sectorCount);
      if (this.bad.has(sector)) continue;
      this.bad.set(sector, Number.POSITIVE_INFINITY);
      if (!(await this.#makeBad(control, sector))) return;
      this.bad.set(sector, this.versions.last);
      await sleep(2);
    }
  }

  /** A table is new with its process: what was bad before is so again. */
  async restoreFaults(control: ControlClient): Promise<void> {
    await control.message(0, ['main', '0', 'enable']);
    for (const [sector, since] of this.bad) {
      assert.ok(await this.#makeBad(control, sector));
      if (since === Number.POSITIVE_INFINITY) this.bad.set(sector, this.versions.last);
    }
  }

  /** At most one request in a granule at one time, so that there is one right answer. */
  async write(client: NbdClient): Promise<void> {
    while (this.alive) {
      const granule = this.#takeGranule();
      const first = this.#random.chance(0.5) ? 0 : this.#random.below(sectorsPerGranule);
      const count = first === 0 ? sectorsPerGranule : 1 + this.#random.below(sectorsPerGranule - first);
      const sector = granule * sectorsPerGranule + first;
      const words = new Uint32Array((count * sectorBytes) / 4);
      const version = this.versions.begin(sector, count);
      fillSectors(words, sector, version);
      const fua = this.#random.chance(0.2);
      if (!(await this.#isDone(client.write(new Uint8Array(words.buffer), sector * sectorBytes, { fua }))))
        return;
      this.versions.acknowledge(sector, count, version);
      this.#busy.delete(granule);
      this.written += 1;
      if (this.#random.chance(0.01) && !(await this.#isDone(client.flush()))) return;
    }
  }

  async read(client: NbdClient): Promise<void> {
    while (this.alive) {
      const granule = this.#takeGranule();
      if (!(await this.#checkGranule(client, granule))) return;
      this.#busy.delete(granule);
      this.readBack += 1;
    }
  }

  /** Reads all of it after a kill; what is found counts from now on. */
  async settle(client: NbdClient): Promise<void> {
    this.#busy.clear();
    this.lost = 0;
    for (let granule = 0; granule < granuleCount; granule += 1) {
      const settle = (sector: number, version: number): void => this.versions.settleSector(sector, version);
      assert.ok(await this.#checkGranule(client, granule, settle), 'the connection holds');
    }
  }

  async #makeBad(control: ControlClient, sector: number): Promise<boolean> {
    try {
      await control.message(0, ['main', '0', 'addbadblock', String(sector), String(writeFailCountMax)]);
      return true;
    } catch (error) {
      if (this.alive) throw error;
      return false;
    }
  }

  #takeGranule(): number {
    for (;;) {
      const granule = this.#random.below(granuleCount);
      if (this.#busy.has(granule)) continue;
      this.#busy.add(granule);
      return granule;
    }
  }

  /** False when the process has died under the request; no write and no flush may fail otherwise. */
  async #isDone(request: Promise<void>): Promise<boolean> {
    try {
      await request;
      return true;
    } catch (error) {
      assert.doesNotMatch(String(error), /EIO|EINVAL|ENOSPC/);
      assert.ok(!this.alive, String(error));
      return false;
    }
  }

  /** False when the process has died meanwhile. */
  async #checkGranule(
    client: NbdClient,
    granule: number,
    found: (sector: number, version: number) => void = () => undefined,
  ): Promise<boolean> {
    const first = granule * sectorsPerGranule;
    const words = new Uint32Array((sectorsPerGranule * sectorBytes) / 4);
    const outcome = await this.#outcomeOf(client.read(new Uint8Array(words.buffer), first * sectorBytes));
    if (outcome === 'died') return false;
    for (let sector = first; sector < first + sectorsPerGranule; sector += 1) {
      const at = (sector - first) * 128;
      let own = words.subarray(at, at + 128);
      if (outcome === 'EIO') {
        own = new Uint32Array(128);
        const alone = await this.#outcomeOf(client.read(new Uint8Array(own.buffer), sector * sectorBytes));
        if (alone === 'died') return false;
        if (alone === 'EIO') {
          this.#mayBeLost(sector);
          continue;
        }
      }
      found(sector, this.versions.check(own, sector));
    }
    return true;
  }

  /** Only main's own copy of what was written before main was bad there. */
  #mayBeLost(sector: number): void {
    const since = this.bad.get(sector);
    assert.ok(since !== undefined, `sector ${sector} gives EIO and was never bad`);
    const acknowledged = this.versions.acknowledged[sector]!;
    assert.ok(
      acknowledged <= since,
      `sector ${sector}: write ${acknowledged} began after ${since}, when it was bad, and is lost`,
    );
    this.lost += 1;
  }

  async #outcomeOf(request: Promise<void>): Promise<'done' | 'EIO' | 'died'> {
    try {
      await request;
      return 'done';
    } catch (error) {
      if (/EIO/.test(String(error))) return 'EIO';
      assert.ok(!this.alive, String(error));
      return 'died';
    }
  }
}

test(`R4 I12 I20 on a disk that gets worse under ${clients} clients, killed ${kills} times, every byte read is the right one`, async () => {
  const disk = new DyingDisk(new SeededRandom('growing-faults'));
  const table = lab.path('main.table');
  writeFileSync(table, `0 ${sectorCount} dust ${lab.image('main.img', mainBytes)} 0 ${sectorBytes}\n`);
  lab.image('spare.img', 32 * mebibyte);
  await lab.mustRun('create', 'disk', '--main-table', table, '--spare', 'spare.img');
  const control = new ControlClient(join(lab.runtime, 'disk', 'control.sock'));
  await disk.restoreFaults(control);
  for (let kill = 0; kill < kills; kill += 1) {
    const before = { written: disk.written, readBack: disk.readBack, bad: disk.bad.size };
    disk.alive = true;
    const traffic = [disk.grow(control)];
    for (let index = 0; index < clients; index += 1) {
      const client = await lab.connect('disk');
      for (let writer = 0; writer < writersPerClient; writer += 1) traffic.push(disk.write(client));
      for (let reader = 0; reader < readersPerClient; reader += 1) traffic.push(disk.read(client));
    }
    await Promise.race([sleep(trafficMs), Promise.all(traffic)]);
    disk.alive = false;
    await lab.kill('disk');
    await Promise.all(traffic);
    assert.ok(disk.written > before.written + 100 && disk.readBack > before.readBack + 100, 'traffic');
    assert.ok(disk.bad.size > before.bad + 50, 'the disk got worse');

    await lab.mustRun('assemble', '--main-table', table, '--spare', 'spare.img');
    await disk.restoreFaults(control);
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
  assert.ok(moved.length > badGranules.size / 4, `${moved.length} moved`);
  assert.ok(disk.lost < disk.bad.size, 'most were written again');
});
