import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NbdClient } from '../../src/nbd/client.ts';
import type { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { fillSectors, SectorVersions, sectorBytes, sectorsPerGranule } from './sector-versions.ts';

const settlersAtOnce = 16;

/** Makes a sector bad for good: reads and writes of it fail. */
export type SpoilSector = (sector: number) => Promise<void>;

/** What it needs of a client. */
export type DiskClient = Pick<NbdClient, 'read' | 'write' | 'flush'>;

/** A disk that gets worse while it is in use, and what its users may then see. */
export class DyingDisk {
  readonly versions: SectorVersions;
  /** Sectors that are bad, or about to be, and the last write that began before that was certain. */
  readonly bad: Map<number, number> = new Map();
  readonly #busy = new Set<number>();
  readonly #random: SeededRandom;
  readonly #sectorCount: number;
  readonly #spoil: SpoilSector;
  alive = false;
  written = 0;
  readBack = 0;
  lost = 0;

  /** Of the first `sectorCount` sectors of a device that holds zeros. */
  constructor(random: SeededRandom, sectorCount: number, spoil: SpoilSector) {
    this.#random = random;
    this.#sectorCount = sectorCount;
    this.#spoil = spoil;
    this.versions = new SectorVersions(sectorCount);
  }

  /** Makes sectors bad at chance places, also below requests under way, until the process dies or there are so many. */
  async grow(intervalMs: number = 2, countMax: number = Number.POSITIVE_INFINITY): Promise<void> {
    for (const end = this.bad.size + countMax; this.alive && this.bad.size < end; ) {
      const sector = this.#random.below(this.#sectorCount);
      if (this.bad.has(sector)) continue;
      this.bad.set(sector, Number.POSITIVE_INFINITY);
      if (!(await this.#makeBad(sector))) return;
      this.bad.set(sector, this.versions.last);
      await sleep(intervalMs);
    }
  }

  /** For faults that die with the process: what was bad before is so again. */
  async restoreFaults(): Promise<void> {
    for (const [sector, since] of this.bad) {
      assert.ok(await this.#makeBad(sector));
      if (since === Number.POSITIVE_INFINITY) this.bad.set(sector, this.versions.last);
    }
  }

  /** At most one request in a granule at one time, so that there is one right answer. */
  async write(client: DiskClient): Promise<void> {
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

  async read(client: DiskClient): Promise<void> {
    while (this.alive) {
      const granule = this.#takeGranule();
      if (!(await this.#checkGranule(client, granule))) return;
      this.#busy.delete(granule);
      this.readBack += 1;
    }
  }

  /** Reads all of it after a kill; what is found counts from now on. */
  async settle(client: DiskClient): Promise<void> {
    this.#busy.clear();
    this.lost = 0;
    const settle = (sector: number, version: number): void => this.versions.settleSector(sector, version);
    const reader = async (first: number): Promise<void> => {
      for (let granule = first; granule < this.#granuleCount; granule += settlersAtOnce) {
        assert.ok(await this.#checkGranule(client, granule, settle), 'the connection holds');
      }
    };
    await Promise.all(Array.from({ length: settlersAtOnce }, (_, index) => reader(index)));
  }

  get #granuleCount(): number {
    return this.#sectorCount / sectorsPerGranule;
  }

  async #makeBad(sector: number): Promise<boolean> {
    try {
      await this.#spoil(sector);
      return true;
    } catch (error) {
      if (this.alive) throw error;
      return false;
    }
  }

  #takeGranule(): number {
    for (;;) {
      const granule = this.#random.below(this.#granuleCount);
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
    client: DiskClient,
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
