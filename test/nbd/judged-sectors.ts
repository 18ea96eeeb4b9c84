import assert from 'node:assert/strict';
import { sectorBytes } from '../../src/block/block-device.ts';

const zeroSector = new Uint8Array(sectorBytes);

/** What a change stores: a pattern that names it, or zeros. */
export type VersionKind = 'data' | 'zeros';

interface Sector {
  /** What a read may find. */
  readonly possible: Set<number>;
  /** What may be there after a power cut. */
  readonly afterCut: Set<number>;
  /** Sent and not answered. */
  readonly pending: Set<number>;
  readonly watches: Set<Set<number>>;
}

/** A change of some sectors, from its sending on. */
export interface Change {
  readonly version: number;
  readonly first: number;
  readonly count: number;
  /** By sector: what was unanswered when it was sent, and may therefore land behind it. */
  readonly unordered: readonly ReadonlySet<number>[];
}

/** What a read under way may see. */
export interface Watch {
  readonly first: number;
  readonly seen: readonly Set<number>[];
}

/**
 * Which versions each sector may hold, as its clients were told: the one that was acknowledged last, what was sent since and what
 * failed since. And which ones a power cut may bring back: all since the last that was durable.
 */
export class JudgedSectors {
  readonly #sectors: readonly Sector[];
  readonly #kinds: VersionKind[] = ['zeros'];

  constructor(sectorCount: number) {
    this.#sectors = Array.from({ length: sectorCount }, () => ({
      possible: new Set([0]),
      afterCut: new Set([0]),
      pending: new Set<number>(),
      watches: new Set<Set<number>>(),
    }));
  }

  begin(kind: VersionKind, first: number, count: number): Change {
    const version = this.#kinds.push(kind) - 1;
    const unordered = this.#range(first, count).map((sector) => {
      const pending = new Set(sector.pending);
      sector.possible.add(version);
      sector.afterCut.add(version);
      sector.pending.add(version);
      for (const seen of sector.watches) seen.add(version);
      return pending;
    });
    return { version, first, count, unordered };
  }

  /** The change was answered, or never will be. One that succeeded replaces what it found. */
  end(change: Change, succeeded: boolean): void {
    for (const [index, sector] of this.#range(change.first, change.count).entries()) {
      sector.pending.delete(change.version);
      if (succeeded) forgetOlder(sector.possible, change, index);
    }
  }

  /** A change that has succeeded is on stable storage. */
  makeDurable(change: Change): void {
    for (const [index, sector] of this.#range(change.first, change.count).entries()) {
      forgetOlder(sector.afterCut, change, index);
    }
  }

  /** The change was refused before anything of it was done. */
  withdraw(change: Change): void {
    for (const sector of this.#range(change.first, change.count)) {
      for (const versions of [sector.pending, sector.possible, sector.afterCut])
        versions.delete(change.version);
    }
  }

  /** A disk's cache threw away what was not on stable storage, or some of it: a read may find what a power cut leaves. */
  forgetUnstable(): void {
    for (const { possible, afterCut, watches } of this.#sectors) {
      for (const version of afterCut) {
        possible.add(version);
        for (const seen of watches) seen.add(version);
      }
    }
  }

  watch(first: number, count: number): Watch {
    const seen = this.#range(first, count).map((sector) => {
      const versions = new Set(sector.possible);
      sector.watches.add(versions);
      return versions;
    });
    return { first, seen };
  }

  stop({ first, seen }: Watch): void {
    for (const [index, versions] of seen.entries()) this.#sectors[first + index]!.watches.delete(versions);
  }

  /** What a read found at one sector. */
  check({ first, seen }: Watch, sector: number, bytes: Uint8Array): void {
    this.#check(seen[sector - first]!, sector, bytes, 'a read');
  }

  /** The sector read as zeros at some time of the watch. */
  checkZeros({ first, seen }: Watch, sector: number): void {
    const zeros = [...seen[sector - first]!].some((version) => this.#kinds[version] === 'zeros');
    assert(zeros, `sector ${sector} was told to be zeros, and may hold ${[...seen[sector - first]!].join()}`);
  }

  /** What is left at one sector after a power cut. */
  checkAfterCut(sector: number, bytes: Uint8Array): void {
    this.#check(this.#sectors[sector]!.afterCut, sector, bytes, 'a power cut');
  }

  #check(allowed: ReadonlySet<number>, sector: number, bytes: Uint8Array, how: string): void {
    if (this.#isAllowed(allowed, sector, bytes)) return;
    const expected = [...allowed].map((version) => `${version} (${this.#kinds[version]})`).join(', ');
    const found = bytes.every((byte) => byte === 0)
      ? 'zeros'
      : `version ${new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true)}`;
    assert.fail(`${how} finds at sector ${sector} ${found}, or a piece of it; expected ${expected}`);
  }

  #isAllowed(allowed: ReadonlySet<number>, sector: number, bytes: Uint8Array): boolean {
    if (Buffer.compare(bytes, zeroSector) === 0) {
      return [...allowed].some((version) => this.#kinds[version] === 'zeros');
    }
    const version = new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true);
    return allowed.has(version) && Buffer.compare(bytes, versionPattern(sector, 1, version)) === 0;
  }

  #range(first: number, count: number): readonly Sector[] {
    return this.#sectors.slice(first, first + count);
  }
}

/** Of what was sent before the change, only what was unanswered then may be found from now on. */
function forgetOlder(versions: Set<number>, { version, unordered }: Change, index: number): void {
  for (const other of versions) {
    if (other < version && !unordered[index]!.has(other)) versions.delete(other);
  }
}

/** Sectors of which each names its number and the version. */
export function versionPattern(sector: number, count: number, version: number): Uint8Array {
  const bytes = new Uint8Array(count * sectorBytes);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length; at += 8) {
    view.setUint32(at, sector + Math.floor(at / sectorBytes), true);
    view.setUint32(at + 4, version, true);
  }
  return bytes;
}
