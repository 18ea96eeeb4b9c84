import { assert } from '../block/assert.ts';
import { sectorBytes } from '../block/block-device.ts';
import type { SeededRandom } from './seeded-random.ts';

/** A request whose writes may be in the cache while it has not settled. */
export interface WriteOwner {
  readonly settled: boolean;
}

/** One content of one sector that is in the volatile cache and not yet on the media. */
interface SectorVersion {
  readonly sequence: number;
  readonly bytes: Uint8Array;
  readonly owner: WriteOwner;
}

/** A write that the disk has, or may have, begun when the power went: any of its sectors may be on the media. */
export interface InterruptedWrite {
  readonly firstSector: number;
  readonly bytes: Uint8Array;
}

/** How much of what was not flushed survives one power cut. */
const survivals = ['none', 'all', 'half', 'most'] as const;

/**
 * What outlives a process: the media, and in front of it the disk's volatile write cache, which keeps every version of
 * every sector since it last became durable. A power cut may leave any one of those versions, sector by sector, so
 * that writes of several sectors tear and writes of different sectors change their order.
 *
 *     durable ── version 7 ── version 9          sector 4: three possible contents after a power cut
 *     durable ── version 8                       sector 5: two
 */
export class SimulatedMedia {
  /** What is on the media: what survives every power cut. For judges; the disk changes it. */
  readonly durable: Uint8Array;
  readonly #random: SeededRandom;
  /** Versions of a sector, oldest first. A sector without an entry has its durable content. */
  readonly #cache = new Map<number, SectorVersion[]>();
  #sequence = 0;

  constructor(sizeBytes: number, random: SeededRandom) {
    this.durable = new Uint8Array(sizeBytes);
    this.#random = random;
  }

  /** Sectors that would be lost, or not, if the power went now. */
  get unflushedSectorCount(): number {
    return this.#cache.size;
  }

  /** Every version cached so far has a sequence up to this one. */
  get sequence(): number {
    return this.#sequence;
  }

  /** What a read returns, cache included. */
  read(target: Uint8Array, offset: number): void {
    const whole = offset % sectorBytes === 0 && target.length % sectorBytes === 0;
    assert(whole, 'SimulatedMedia: the unit is one sector');
    target.set(this.durable.subarray(offset, offset + target.length));
    if (this.#cache.size === 0) return;
    const first = offset / sectorBytes;
    for (let index = 0; index * sectorBytes < target.length; index += 1) {
      const version = this.#cache.get(first + index)?.at(-1);
      if (version !== undefined) target.set(version.bytes, index * sectorBytes);
    }
  }

  /** Puts one sector into the cache. */
  cacheSector(sector: number, bytes: Uint8Array, owner: WriteOwner): void {
    assert(bytes.length === sectorBytes, 'SimulatedMedia: the unit is one sector');
    this.#sequence += 1;
    const version: SectorVersion = { sequence: this.#sequence, bytes: bytes.slice(), owner };
    const versions = this.#cache.get(sector);
    if (versions === undefined) this.#cache.set(sector, [version]);
    else versions.push(version);
  }

  /** Makes every version up to `sequence` durable. Returns the number of sectors that changed on the media. */
  commit(sequence: number): number {
    let sectors = 0;
    for (const [sector, versions] of this.#cache) {
      let last = versions.length - 1;
      while (last >= 0 && versions[last]!.sequence > sequence) last -= 1;
      if (last >= 0) {
        this.#store(sector, versions, last);
        sectors += 1;
      }
    }
    return sectors;
  }

  /** Makes what `owner` wrote durable: a write with FUA. Later versions of the same sectors stay in the cache. */
  commitOwner(owner: WriteOwner, firstSector: number, sectorCount: number): void {
    for (let sector = firstSector; sector < firstSector + sectorCount; sector += 1) {
      const versions = this.#cache.get(sector);
      const at = versions?.findLastIndex((version) => version.owner === owner) ?? -1;
      // Not there: a flush has already made it, or something newer, durable.
      if (versions !== undefined && at >= 0) this.#store(sector, versions, at);
    }
  }

  /** Forgets the cached contents of some sectors, as disks do whose flush fails. Returns how many lost something. */
  dropSome(): number {
    let dropped = 0;
    for (const [sector, versions] of this.#cache) {
      if (!this.#random.chance(0.5)) continue;
      const kept = versions.filter((version) => !version.owner.settled);
      if (kept.length === versions.length) continue;
      dropped += 1;
      if (kept.length === 0) this.#cache.delete(sector);
      else this.#cache.set(sector, kept);
    }
    return dropped;
  }

  /** The power goes: each sector keeps one of its possible contents. Returns how many did not get their newest. */
  powerCut(interrupted: readonly InterruptedWrite[]): number {
    const candidates = new Map<number, Uint8Array[]>();
    for (const [sector, versions] of this.#cache) {
      candidates.set(
        sector,
        versions.map((version) => version.bytes),
      );
    }
    for (const write of interrupted) {
      for (let index = 0; index * sectorBytes < write.bytes.length; index += 1) {
        const bytes = write.bytes.subarray(index * sectorBytes, (index + 1) * sectorBytes);
        const sector = write.firstSector + index;
        const list = candidates.get(sector);
        if (list === undefined) candidates.set(sector, [bytes]);
        else list.push(bytes);
      }
    }
    this.#cache.clear();
    return this.#settleCandidates(candidates);
  }

  #settleCandidates(candidates: ReadonlyMap<number, readonly Uint8Array[]>): number {
    const survival = this.#random.pick(survivals);
    let lost = 0;
    for (const [sector, versions] of candidates) {
      const newest = versions.length - 1;
      let chosen = newest;
      if (survival === 'none') chosen = -1;
      if (survival === 'half') chosen = this.#random.below(versions.length + 1) - 1;
      if (survival === 'most' && this.#random.chance(0.1))
        chosen = this.#random.below(versions.length + 1) - 1;
      if (chosen < newest) lost += 1;
      if (chosen >= 0) this.durable.set(versions[chosen]!, sector * sectorBytes);
    }
    return lost;
  }

  #store(sector: number, versions: SectorVersion[], upTo: number): void {
    this.durable.set(versions[upTo]!.bytes, sector * sectorBytes);
    if (upTo === versions.length - 1) this.#cache.delete(sector);
    else versions.splice(0, upTo + 1);
  }
}
