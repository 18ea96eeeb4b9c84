import { assert } from '../../block/assert.ts';
import { sectorBytes } from '../../block/block-device.ts';

/** Words of a sector that say what it is: magic, seed, sector, version. */
const magic = 0x57_4f_52_4c;
const versionAt = 12;

/** What one write sent, from its first sector on. */
interface Source {
  readonly firstSector: number;
  readonly bytes: Buffer;
}

/** What the first bytes of a sector say about it. */
export interface Stamp {
  readonly sector: number;
  readonly version: number;
}

/** Version 0 is what main held at first. */
export const initialVersion = 0;

/**
 * The bytes of every version of every sector. Each sector's bytes name their sector and version, so that any other byte is
 * found, and so that a judge sees on a raw disk whose bytes they are. What was sent is kept: comparing is one memcmp.
 */
export class Contents {
  readonly #seed: number;
  readonly #sources = new Map<number, Source>();
  readonly #zeroVersions = new Set<number>();
  readonly #before: Contents | undefined;

  constructor(seed: number, before?: Contents) {
    this.#seed = seed;
    this.#before = before;
  }

  /** The same, for a fork that makes versions of its own with numbers that the original gives again. */
  fork(): Contents {
    return new Contents(this.#seed, this);
  }

  /** The bytes that write `version` sends. The caller must not change them. */
  make(version: number, firstSector: number, sectorCount: number): Uint8Array {
    const bytes = Buffer.alloc(sectorCount * sectorBytes);
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    const wordsPerSector = sectorBytes / 4;
    for (let index = 0; index < sectorCount; index += 1) {
      const sector = firstSector + index;
      const from = index * wordsPerSector;
      let state = (this.#seed ^ Math.imul(sector + 1, 0x9e37_79b1) ^ Math.imul(version + 1, 0x85eb_ca6b)) | 1;
      for (let word = from + 4; word < from + wordsPerSector; word += 1) {
        state = Math.imul(state, 0x2c1b_3c6d) + 0x3504_f333;
        words[word] = state ^ (state >>> 15);
      }
      words[from] = magic;
      words[from + 1] = this.#seed;
      words[from + 2] = sector;
      words[from + 3] = version;
    }
    this.#sources.set(version, { firstSector, bytes });
    return bytes;
  }

  /** A version of which every byte is zero: write-zeroes, and what a discard may leave. */
  makeZeroes(version: number): void {
    this.#zeroVersions.add(version);
  }

  isZeroes(version: number): boolean {
    return this.#zeroVersions.has(version);
  }

  /** Whose bytes these are; undefined when they are of no write of this world. They may be damaged behind the stamp. */
  stampOf(bytes: Uint8Array, at = 0): Stamp | undefined {
    const view = new DataView(bytes.buffer, bytes.byteOffset + at, 16);
    if (view.getUint32(0, true) !== magic || view.getUint32(4, true) !== this.#seed >>> 0) return undefined;
    return { sector: view.getUint32(8, true), version: view.getUint32(versionAt, true) };
  }

  /** The one of `versions` that these sector's bytes are, whole and exact; undefined when none. */
  identify(bytes: Buffer, at: number, sector: number, versions: readonly number[]): number | undefined {
    const version = bytes.readUInt32LE(at + versionAt);
    if (versions.includes(version) && this.isVersion(bytes, at, sector, version)) return version;
    return versions.find((candidate) => this.isZeroVersion(candidate) && isZero(bytes, at));
  }

  private isZeroVersion(version: number): boolean {
    if (this.#zeroVersions.has(version)) return true;
    return !this.#sources.has(version) && this.#before?.isZeroVersion(version) === true;
  }

  private sourceOf(version: number): Source | undefined {
    return this.#sources.get(version) ?? this.#before?.sourceOf(version);
  }

  /** True when these sectors have exactly what write `version` sent for them. */
  isVersion(bytes: Buffer, at: number, sector: number, version: number, sectorCount = 1): boolean {
    const source = this.sourceOf(version);
    if (source === undefined) return false;
    const from = (sector - source.firstSector) * sectorBytes;
    const length = sectorCount * sectorBytes;
    const isInside = from >= 0 && from + length <= source.bytes.length;
    assert(isInside, 'Contents: a version knows its sectors');
    return bytes.compare(source.bytes, from, from + length, at, at + length) === 0;
  }
}

/** One sector of zeros. */
export function isZero(bytes: Uint8Array, at: number): boolean {
  for (let index = at; index < at + sectorBytes; index += 1) if (bytes[index] !== 0) return false;
  return true;
}
