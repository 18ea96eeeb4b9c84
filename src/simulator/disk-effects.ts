import { sectorBytes } from '../block/block-device.ts';
import type { FailedRange } from '../block/device-error.ts';
import { type DiskRequest, exactRanges, failedRange, forEachSector } from './disk-request.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { SimulatedFaults } from './simulated-faults.ts';
import type { SimulatedMedia } from './simulated-media.ts';

/** What a read leaves in bytes that it could not read: nothing that anyone could take for data. */
export const unreadableFill = 0xee;

export interface DiskEffectsParts {
  readonly media: SimulatedMedia;
  readonly faults: SimulatedFaults;
  readonly random: SeededRandom;
  readonly logicalBlockBytes: number;
  /** Failed ranges name the bad blocks only. */
  readonly exactRanges: boolean;
  /** Nothing stays in the cache. */
  readonly writeThrough: boolean;
  /** A write is about to succeed on sectors that cannot be read back. `before`: what is there. */
  readonly onBlindWrite: ((sector: number, bytes: Uint8Array) => void) | undefined;
}

/** What requests do to the media, and which sectors of them fail. */
export class DiskEffects {
  readonly #parts: DiskEffectsParts;
  readonly #blockSectors: number;

  constructor(parts: DiskEffectsParts) {
    this.#parts = parts;
    this.#blockSectors = parts.logicalBlockBytes / sectorBytes;
  }

  /** Once a request, at some moment between its submission and its answer. */
  take(request: DiskRequest): void {
    if (request.kind === 'read') this.#sample(request);
    // Contents are undefined after a discard: some blocks read as zeros, some as before.
    else if (request.kind === 'discard') this.writeSome(request);
    else if (request.kind !== 'flush') this.#write(request);
  }

  /** Writes some blocks: a discard, and a write that fails without a bad sector. */
  writeSome(request: DiskRequest): void {
    const { faults, random } = this.#parts;
    const block = new BlockChance(random, this.#blockSectors);
    forEachSector(request, (sector, bytes) => {
      if (block.half(sector) && faults.isWritable(sector)) this.#put(sector, bytes, request);
    });
  }

  #sample(request: DiskRequest): void {
    const { media, faults, random } = this.#parts;
    media.read(request.bytes, request.offset);
    const failed = this.#strike(request, 'read');
    if (failed.size === 0) return;
    faults.counts.badSectorReads += 1;
    request.failedRanges = this.#failedRanges(request, failed);
    // Good sectors of a request that fails as a whole may have arrived or not.
    const deliverGood = this.#parts.exactRanges || random.chance(0.5);
    forEachSector(request, (sector, bytes) => {
      if (failed.has(sector) || !deliverGood) bytes.fill(unreadableFill);
    });
  }

  #write(request: DiskRequest): void {
    const { media, faults, random, onBlindWrite, writeThrough } = this.#parts;
    const failed = this.#strike(request, 'write');
    if (writeThrough && failed.size === 0) {
      media.load(request.bytes, request.offset);
      return;
    }
    if (failed.size > 0) {
      faults.counts.badSectorWrites += 1;
      request.failedRanges = this.#failedRanges(request, failed);
    }
    const all = failed.size === 0 || this.#parts.exactRanges;
    const block = new BlockChance(random, this.#blockSectors);
    forEachSector(request, (sector, bytes) => {
      if (failed.has(sector) || !(all || block.half(sector))) return;
      if (onBlindWrite !== undefined && faults.isBlind(sector)) onBlindWrite(sector, bytes);
      this.#put(sector, bytes, request);
    });
  }

  #put(sector: number, bytes: Uint8Array, request: DiskRequest): void {
    const { media, writeThrough } = this.#parts;
    if (writeThrough) media.load(bytes, sector * sectorBytes);
    else media.cacheSector(sector, bytes, request);
  }

  #strike(request: DiskRequest, kind: 'read' | 'write'): Map<number, number> {
    const { faults } = this.#parts;
    const failed = new Map<number, number>();
    const first = request.offset / sectorBytes;
    if (faults.isClean(first, request.length / sectorBytes)) return failed;
    forEachSector(request, (sector) => {
      const errno = faults.strike(kind, sector);
      if (errno !== undefined) failed.set(sector, errno);
    });
    return failed;
  }

  #failedRanges(request: DiskRequest, failed: ReadonlyMap<number, number>): FailedRange[] {
    if (this.#parts.exactRanges) return exactRanges(failed, this.#parts.logicalBlockBytes);
    const [errno] = failed.values();
    return [failedRange(request.offset, request.length, errno!)];
  }
}

/** A disk writes a logical block whole or not at all: its sectors share their fate. */
class BlockChance {
  readonly #random: SeededRandom;
  readonly #blockSectors: number;
  #block = -1;
  #lucky = false;

  constructor(random: SeededRandom, blockSectors: number) {
    this.#random = random;
    this.#blockSectors = blockSectors;
  }

  half(sector: number): boolean {
    const block = Math.floor(sector / this.#blockSectors);
    if (block !== this.#block) this.#lucky = this.#random.chance(0.5);
    this.#block = block;
    return this.#lucky;
  }
}
