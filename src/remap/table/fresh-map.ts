import { deviceError } from '../../block/device-error.ts';
import { Errno } from '../../block/errno.ts';
import { type FreshEndedRecord, StateFlags } from '../../metadata/mapping-state.ts';
import { MetadataError } from '../../metadata/metadata-error.ts';
import type { FreshRegions } from './fresh-regions.ts';
import type { GranuleState } from './granule-table.ts';

/**
 * Bytes of bitmaps for regions that this session was the first to write to. A region behind the limit ends whole: what main
 * cannot read there is an error from then on. 4 MiB are 128 GiB of main in granules of 4 KiB.
 */
export const freshBitmapBytesMax: number = 4 * 1024 * 1024;

export interface FreshMapParts {
  readonly regions: FreshRegions;
  readonly granuleBytes: number;
  readonly deviceName: string;
  /** Makes records durable, and live in the same turn. */
  readonly commit: (records: readonly FreshEndedRecord[]) => Promise<void>;
}

/**
 * What was never written since `create --fresh` (R13), so that zeros are as good as main's bytes:
 *
 *     a region nobody wrote to           durable: it stays fresh over a restart
 *     a region first written to by us    a bit a granule, in memory: the others are fresh until the device is closed
 *     any other region                   not fresh
 */
export class FreshMap {
  readonly #parts: FreshMapParts;
  readonly #granulesPerRegion: number;
  readonly #written = new Map<number, Uint8Array>();

  constructor(parts: FreshMapParts) {
    this.#parts = parts;
    this.#granulesPerRegion = parts.regions.regionBytes / parts.granuleBytes;
  }

  /** True when no sector of the granule was ever written. To be asked under its lock: no write is then under way. */
  isUnwritten(granule: number): boolean {
    const region = Math.floor(granule / this.#granulesPerRegion);
    if (!this.#parts.regions.hasEnded(region)) return true;
    const written = this.#written.get(region);
    if (written === undefined) return false;
    const bit = granule % this.#granulesPerRegion;
    return (written[bit >>> 3]! & (1 << (bit & 7))) === 0;
  }

  /**
   * Granules `first` to `last` are about to be written. Undefined: go on, and look for marks and locks only now. Else the
   * end of their freshness is being stored; ask again when the promise has resolved. Rejects with a `DeviceError`: nothing
   * may be written.
   */
  beginWrite(first: number, last: number): Promise<void> | undefined {
    const { regions } = this.#parts;
    const firstRegion = Math.floor(first / this.#granulesPerRegion);
    const lastRegion = Math.floor(last / this.#granulesPerRegion);
    for (let region = firstRegion; region <= lastRegion; region += 1) {
      if (!regions.hasEnded(region)) return this.#end(firstRegion, lastRegion);
    }
    if (this.#written.size > 0) this.#note(first, last);
    return undefined;
  }

  /** Resolves when granules `first` to `last` may be written; rejects as `beginWrite`. */
  async whenWritable(first: number, last: number): Promise<void> {
    let ending = this.beginWrite(first, last);
    while (ending !== undefined) {
      await ending;
      ending = this.beginWrite(first, last);
    }
  }

  #note(first: number, last: number): void {
    for (let granule = first; granule <= last; granule += 1) {
      const written = this.#written.get(Math.floor(granule / this.#granulesPerRegion));
      const bit = granule % this.#granulesPerRegion;
      if (written !== undefined) written[bit >>> 3]! |= 1 << (bit & 7);
    }
  }

  /** Several writes to a new region each store the record: it is absolute, and their commits are one batch. */
  async #end(firstRegion: number, lastRegion: number): Promise<void> {
    const { regions, commit, deviceName, granuleBytes } = this.#parts;
    for (let region = firstRegion; region <= lastRegion; region += 1) this.#remember(region);
    const regionCount = Math.min(lastRegion + 1, regions.regionCount) - firstRegion;
    try {
      await commit([{ type: 'fresh-ended', region: firstRegion, regionCount }]);
    } catch (error) {
      if (!(error instanceof MetadataError)) throw error;
      const offset = firstRegion * this.#granulesPerRegion * granuleBytes;
      const length = regionCount * this.#granulesPerRegion * granuleBytes;
      const detail = 'that the range is written to cannot be stored on the spare';
      throw deviceError(deviceName, 'path', offset, length, Errno.EIO, detail);
    }
  }

  /** Before the region ends, so that no reader in between takes all of it for written. */
  #remember(region: number): void {
    if (this.#parts.regions.hasEnded(region) || this.#written.has(region)) return;
    const bytes = Math.ceil(this.#granulesPerRegion / 8);
    if ((this.#written.size + 1) * bytes <= freshBitmapBytesMax) {
      this.#written.set(region, new Uint8Array(bytes));
    }
  }
}

/** The sectors that read as zeros, of those that main cannot read: all or none, for the flag is the granule's. */
export function freshZeros(state: GranuleState): number {
  return (state.flags & StateFlags.freshZero) === 0 ? 0 : state.unreadable;
}
