import { sectorBytes } from '../../block/block-device.ts';
import type { Judge } from './judge.ts';
import type { WorldGeometry } from './world-geometry.ts';

/** Virtual milliseconds after the last fault in which a request may still fail for it: probes and retries have pauses. */
export const graceMs = 6000;

/** What is wrong, where and how long: all that excuses a request that fails and a granule that moves. */
export class Trouble {
  readonly #sectorsPerGranule: number;
  /** Failures are excused up to here. */
  #untilMs = -1;
  /** Faults that last until they are lifted. */
  #lasting = 0;
  /** Granules that may have been moved: a spare that lies loses those and no others. */
  readonly #special = new Set<number>();
  /** Granules that something was wrong with. */
  readonly #movable = new Set<number>();

  constructor(geometry: WorldGeometry) {
    this.#sectorsPerGranule = geometry.granuleBytes / sectorBytes;
  }

  /** A fault struck, and its effect is over by then. */
  until(endMs: number): void {
    this.#untilMs = Math.max(this.#untilMs, endMs + graceMs);
  }

  /** A fault begins that lasts until `lifted`. */
  lasts(): void {
    this.#lasting += 1;
  }

  lifted(nowMs: number): void {
    this.#lasting -= 1;
    this.until(nowMs);
  }

  /** A machine that starts again finds its disks as they are, without what hung or was unplugged. */
  calm(): void {
    this.#lasting = 0;
    this.#untilMs = -1;
  }

  /** True when a fault may have met a request that began then. */
  met(sinceMs: number): boolean {
    return this.#lasting > 0 || this.#untilMs >= sinceMs;
  }

  markSpecial(firstSector: number, sectorCount: number): void {
    this.#addGranules(this.#special, firstSector, sectorCount);
  }

  /** A spare has lied: what it may have held is lost. */
  excuseSpecial(judge: Judge): void {
    const perGranule = this.#sectorsPerGranule;
    for (const granule of this.#special) {
      const end = Math.min((granule + 1) * perGranule, judge.sectorCount);
      for (let sector = granule * perGranule; sector < end; sector += 1) judge.excuse(sector);
    }
  }

  /** I17: no other granule is ever moved. */
  mayMove(firstSector: number, sectorCount: number): void {
    this.#addGranules(this.#movable, firstSector, sectorCount);
  }

  hadReasonToMove(sector: number): boolean {
    return this.#movable.has(Math.floor(sector / this.#sectorsPerGranule));
  }

  #addGranules(granules: Set<number>, firstSector: number, sectorCount: number): void {
    const perGranule = this.#sectorsPerGranule;
    const last = Math.floor((firstSector + sectorCount - 1) / perGranule);
    for (let granule = Math.floor(firstSector / perGranule); granule <= last; granule += 1) {
      granules.add(granule);
    }
  }
}
