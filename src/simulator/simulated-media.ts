import { assert } from '../block/assert.ts';
import { sectorBytes } from '../block/block-device.ts';
import { PagedImage } from './paged-image.ts';
import type { SeededRandom } from './seeded-random.ts';

/** A request whose writes may be in the cache while it has not settled. */
export interface WriteOwner {
  readonly settled: boolean;
  /** Bytes of it that the disk has called failed; none when absent. */
  readonly failedRanges?: readonly { readonly offset: number; readonly length: number }[];
}

/** One content of one sector that is in the volatile cache and not yet on the media. */
interface SectorVersion {
  readonly sequence: number;
  readonly bytes: Uint8Array;
  readonly owner: WriteOwner;
}

/** Bytes of one sector. */
export interface SectorContent {
  readonly sector: number;
  readonly bytes: Uint8Array;
}

/** What a power cut took. */
export interface PowerCutLoss {
  /** Contents that were the newest of their sector, were said to be written, and are gone. */
  readonly lost: readonly SectorContent[];
  /** Newest contents of sectors that are gone although nobody had said that they were written: what failed writes left. */
  readonly left: readonly SectorContent[];
  /** Sectors that lost a content which a flush had promised to keep: that flush lied. */
  readonly lied: readonly number[];
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
  readonly #random: SeededRandom;
  /** A disk writes a logical block whole or not at all: its sectors share their fate. */
  readonly #blockSectors: number;
  #durable: PagedImage;
  /** Versions of a sector, oldest first. A sector without an entry has its durable content. */
  readonly #cache = new Map<number, SectorVersion[]>();
  #sequence = 0;
  /** A flush has claimed to make everything up to here durable, and has not. */
  #liedSequence = 0;

  constructor(sizeBytes: number, random: SeededRandom, blockSectors = 1, durable?: PagedImage) {
    this.#blockSectors = blockSectors;
    this.#durable = durable ?? new PagedImage(sizeBytes);
    this.#random = random;
  }

  /** What is on the media, what survives every power cut: a copy. */
  get durable(): Uint8Array {
    return this.#durable.toBytes();
  }

  /** Contents from before the simulation. */
  load(bytes: Uint8Array, offset: number): void {
    this.#durable.write(bytes, offset);
  }

  /** Sectors that would be lost, or not, if the power went now. */
  get unflushedSectorCount(): number {
    return this.#cache.size;
  }

  /** Every version cached so far has a sequence up to this one. */
  get sequence(): number {
    return this.#sequence;
  }

  /** A flush has lied, and a power cut now would show it. */
  get owesLiedWrites(): boolean {
    for (const versions of this.#cache.values()) if (versions[0]!.sequence <= this.#liedSequence) return true;
    return false;
  }

  /** What a read returns, cache included. */
  read(target: Uint8Array, offset: number): void {
    const whole = offset % sectorBytes === 0 && target.length % sectorBytes === 0;
    assert(whole, 'SimulatedMedia: the unit is one sector');
    this.#durable.read(target, offset);
    if (this.#cache.size === 0) return;
    const first = offset / sectorBytes;
    for (let index = 0; index * sectorBytes < target.length; index += 1) {
      const version = this.#cache.get(first + index)?.at(-1);
      if (version !== undefined) target.set(version.bytes, index * sectorBytes);
    }
  }

  /** Puts one sector into the cache. `bytes` are never changed afterwards. */
  cacheSector(sector: number, bytes: Uint8Array, owner: WriteOwner): void {
    assert(bytes.length === sectorBytes, 'SimulatedMedia: the unit is one sector');
    this.#sequence += 1;
    const version: SectorVersion = { sequence: this.#sequence, bytes, owner };
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

  /** As `commit` would, but only says so. */
  pretendToCommit(sequence: number): void {
    this.#liedSequence = Math.max(this.#liedSequence, sequence);
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

  /** Forgets the cached contents of some sectors, as disks do whose flush fails. `lost`: the newest of what is gone. */
  dropSome(): PowerCutLoss {
    const lost: SectorContent[] = [];
    const left: SectorContent[] = [];
    const lied: number[] = [];
    const drops = this.#byBlock(() => (this.#random.chance(0.5) ? 1 : 0));
    for (const [sector, versions] of this.#cache) {
      if (drops(sector) === 0) continue;
      const kept = versions.filter((version) => !version.owner.settled);
      if (kept.length === versions.length) continue;
      const newest = versions.at(-1)!;
      if (newest.owner.settled) {
        (believed(sector, versions) ? lost : left).push({ sector, bytes: newest.bytes });
      }
      const promised = versions[this.#promised(versions)];
      if (promised?.owner.settled === true) lied.push(sector);
      if (kept.length === 0) this.#cache.delete(sector);
      else this.#cache.set(sector, kept);
    }
    return { lost, left, lied };
  }

  /** The power goes: each sector keeps one of its possible contents. */
  powerCut(interrupted: readonly SectorContent[]): PowerCutLoss {
    const loss = this.#survive(this.#durable, interrupted, this.#random);
    this.#cache.clear();
    this.#liedSequence = 0;
    return loss;
  }

  /** What a power cut now would leave on the media; here nothing happens. */
  afterPowerCut(
    interrupted: readonly SectorContent[],
    random: SeededRandom,
  ): { image: PagedImage; loss: PowerCutLoss } {
    const image = this.#durable.fork();
    return { image, loss: this.#survive(image, interrupted, random) };
  }

  /** What reads would find if all of the cache were written: the disk as another process sees it. */
  afterKill(): PagedImage {
    const image = this.#durable.fork();
    for (const [sector, versions] of this.#cache) image.write(versions.at(-1)!.bytes, sector * sectorBytes);
    return image;
  }

  #survive(image: PagedImage, interrupted: readonly SectorContent[], random: SeededRandom): PowerCutLoss {
    const survival = random.pick(survivals);
    const begun = new Map<number, Uint8Array[]>();
    for (const { sector, bytes } of interrupted) {
      const list = begun.get(sector);
      if (list === undefined) begun.set(sector, [bytes]);
      else list.push(bytes);
    }
    const choose = this.#byBlock((count) => chooseVersion(survival, count, random));
    const lied: number[] = [];
    const lost: SectorContent[] = [];
    const left: SectorContent[] = [];
    for (const [sector, versions] of this.#cache) {
      const alsoBegun = begun.get(sector);
      const count = versions.length + (alsoBegun?.length ?? 0);
      const chosen = Math.min(choose(sector, count), count - 1);
      if (chosen < versions.length - 1) {
        (believed(sector, versions) ? lost : left).push({ sector, bytes: versions.at(-1)!.bytes });
      }
      if (chosen < this.#promised(versions)) lied.push(sector);
      if (chosen < 0) continue;
      const bytes =
        chosen < versions.length ? versions[chosen]!.bytes : alsoBegun![chosen - versions.length]!;
      image.write(bytes, sector * sectorBytes);
    }
    for (const [sector, contents] of begun) {
      if (this.#cache.has(sector)) continue;
      const chosen = Math.min(choose(sector, contents.length), contents.length - 1);
      if (chosen >= 0) image.write(contents[chosen]!, sector * sectorBytes);
    }
    return { lost, left, lied };
  }

  /** The same answer for all sectors of a block: they have the same versions, for they were written together. */
  #byBlock(draw: (count: number) => number): (sector: number, count?: number) => number {
    if (this.#blockSectors === 1) return (_sector, count = 0) => draw(count);
    const drawn = new Map<number, number>();
    return (sector, count = 0) => {
      const block = Math.floor(sector / this.#blockSectors);
      const before = drawn.get(block);
      if (before !== undefined) return before;
      const answer = draw(count);
      drawn.set(block, answer);
      return answer;
    };
  }

  /** Index of the newest version that a lying flush promised, -1 for none. */
  #promised(versions: readonly SectorVersion[]): number {
    let last = versions.length - 1;
    while (last >= 0 && versions[last]!.sequence > this.#liedSequence) last -= 1;
    return last;
  }

  #store(sector: number, versions: SectorVersion[], upTo: number): void {
    this.#durable.write(versions[upTo]!.bytes, sector * sectorBytes);
    if (upTo === versions.length - 1) this.#cache.delete(sector);
    else versions.splice(0, upTo + 1);
  }
}

/** The disk has said that the newest content of a sector is written. */
function believed(sector: number, versions: readonly SectorVersion[]): boolean {
  const { settled, failedRanges = [] } = versions.at(-1)!.owner;
  const offset = sector * sectorBytes;
  return (
    settled && !failedRanges.some((range) => offset >= range.offset && offset < range.offset + range.length)
  );
}

/** Which of `count` contents a sector keeps, oldest first; -1 is what the media had before all of them. */
function chooseVersion(survival: (typeof survivals)[number], count: number, random: SeededRandom): number {
  if (survival === 'none') return -1;
  if (survival === 'half') return random.below(count + 1) - 1;
  if (survival === 'most' && random.chance(0.1)) return random.below(count + 1) - 1;
  return count - 1;
}
