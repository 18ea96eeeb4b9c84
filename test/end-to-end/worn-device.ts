import { sectorBytes } from '../../src/block/block-device.ts';
import { deviceError } from '../../src/block/device-error.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';

/** What a worn sector fails: writes alone, and then its old bytes are still read, or everything. */
export type Wear = 'writes' | 'everything';

/**
 * A disk whose sectors wear out while it is in use, and never recover: no write heals them, as one heals dust. A write that
 * meets one has stored what came before it, as disks do. It keeps a trace of which worn sectors were met.
 */
export class WornDevice extends FilterDevice {
  readonly #worn = new Map<number, Wear>();
  /** Worn sectors that a write of other bytes than are there was failed for. */
  readonly failedWrites: Set<number> = new Set();
  /** Those of writes that bring what is there already: the device asks so whether main can be written at all. */
  readonly failedRewrites: Set<number> = new Set();
  readonly failedReads: Set<number> = new Set();

  get wornSectors(): readonly number[] {
    return [...this.#worn.keys()];
  }

  wearOut(sectors: readonly number[], wear: Wear): void {
    for (const sector of sectors) this.#worn.set(sector, wear);
  }

  override read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    const met = this.#met(offset, target.length, 'read');
    if (met.length === 0) return super.read(target, offset, flags);
    for (const sector of met) this.failedReads.add(sector);
    return this.#failure(met[0]!);
  }

  override async write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
    const met = this.#met(offset, source.length, 'write');
    const first = met[0];
    if (first === undefined) return await super.write(source, offset, flags);
    const stored = first * sectorBytes - offset;
    if (stored > 0) await super.write(source.subarray(0, stored), offset, flags);
    await this.#note(met, source.subarray(stored));
    return await this.#failure(first);
  }

  override async writeZeroes(offset: number, length: number, flags?: number): Promise<void> {
    const met = this.#met(offset, length, 'write');
    const first = met[0];
    if (first === undefined) return await super.writeZeroes(offset, length, flags);
    await this.#note(met, new Uint8Array(offset + length - first * sectorBytes));
    return await this.#failure(first);
  }

  /** `rest` is what was to be written from the first of the sectors on. */
  async #note(met: readonly number[], rest: Uint8Array): Promise<void> {
    const stored = new Uint8Array(rest.length);
    await this.below.read(stored, met[0]! * sectorBytes);
    const failed = Buffer.compare(stored, rest) === 0 ? this.failedRewrites : this.failedWrites;
    for (const sector of met) failed.add(sector);
  }

  #met(offset: number, length: number, what: 'read' | 'write'): number[] {
    if (this.#worn.size === 0) return [];
    const met: number[] = [];
    for (let sector = offset / sectorBytes; sector < (offset + length) / sectorBytes; sector += 1) {
      const wear = this.#worn.get(sector);
      if (wear === 'everything' || (wear === 'writes' && what === 'write')) met.push(sector);
    }
    return met;
  }

  #failure(sector: number): Promise<never> {
    return Promise.reject(deviceError(this.name, 'medium', sector * sectorBytes, sectorBytes));
  }
}
