import type { Clock } from '../block/clock.ts';
import type { ScrubAccess } from '../remap/scrub/scrub-access.ts';
import type { ReadBaseline } from './read-baseline.ts';
import type { ScrubCounts } from './scrub-counts.ts';
import { slowConfirmAfterBytes, slowSuspectsMax } from './scrub-limits.ts';
import type { ScrubPace } from './scrub-pace.ts';

/** Slow blocks that one second look found; sectors of the device. */
export interface SlowBlocksFound {
  readonly granules: number;
  readonly movedGranules: number;
  readonly firstSector: number;
  readonly lastSector: number;
}

export interface SlowBlocksParts {
  readonly access: ScrubAccess;
  readonly clock: Clock;
  readonly pace: ScrubPace;
  readonly baseline: ReadBaseline;
  readonly counts: ScrubCounts;
  readonly budget: MoveBudget;
  readonly tell: (found: SlowBlocksFound) => void;
}

interface Suspect {
  readonly offset: number;
  readonly length: number;
  /** Bytes that the pass had read then. */
  readonly atBytes: number;
}

/** Somebody asked for something in the middle of a read: its time says nothing, and it is done again, so often. */
const disturbedMax = 3;

/**
 * Reads that took much longer than this disk takes (policy `slow-read`). A second look, block by block and after so much other
 * reading that no cache answers, says which block it was, or that it was nothing.
 */
export class SlowBlocks {
  readonly #parts: SlowBlocksParts;
  #suspects: Suspect[] = [];

  constructor(parts: SlowBlocksParts) {
    this.#parts = parts;
  }

  /** A read that nobody disturbed, and how long main took. */
  note(offset: number, length: number, mainMs: number, isWhole: boolean): void {
    const { access, baseline, counts } = this.#parts;
    if (access.policies.slowRead === 'off') return;
    const slowMs = baseline.slowMs(access.policies.slowReadMs);
    if (slowMs !== undefined && mainMs >= slowMs) {
      this.#suspects.push({ offset, length, atBytes: counts.mainBytes });
    } else if (isWhole) baseline.add(mainMs);
  }

  /** True when a second look is due. */
  get isDue(): boolean {
    const [oldest] = this.#suspects;
    if (oldest === undefined) return false;
    const isPast = this.#parts.counts.mainBytes - oldest.atBytes >= slowConfirmAfterBytes;
    return isPast || this.#suspects.length >= slowSuspectsMax;
  }

  /** Looks again at all that are waiting, until somebody says stop. */
  async lookAgain(stopped: () => boolean): Promise<void> {
    const suspects = this.#suspects;
    this.#suspects = [];
    for (const suspect of suspects) {
      if (stopped()) return;
      await this.#lookAt(suspect, stopped);
    }
  }

  async #lookAt({ offset, length }: Suspect, stopped: () => boolean): Promise<void> {
    const { access, counts, tell } = this.#parts;
    const { granuleBytes } = access;
    const slow: number[] = [];
    let movedGranules = 0;
    const first = Math.floor(offset / granuleBytes);
    const last = Math.floor((offset + length - 1) / granuleBytes);
    for (let granule = first; granule <= last && !stopped(); granule += 1) {
      if (!(await this.#isSlow(granule, stopped))) continue;
      slow.push(granule);
      counts.slowGranules += 1;
      if (!(await this.#move(granule))) continue;
      counts.slowMovedGranules += 1;
      movedGranules += 1;
    }
    const [firstSlow] = slow;
    if (firstSlow === undefined) return;
    const sectorsPerGranule = granuleBytes / 512;
    tell({
      granules: slow.length,
      movedGranules,
      firstSector: firstSlow * sectorsPerGranule,
      lastSector: (slow.at(-1)! + 1) * sectorsPerGranule - 1,
    });
  }

  async #isSlow(granule: number, stopped: () => boolean): Promise<boolean> {
    const { access, pace, baseline, counts } = this.#parts;
    const start = granule * access.granuleBytes;
    const { part } = access.next(start, Math.min(access.granuleBytes, access.sizeBytes - start));
    if (part?.place !== 'main') return false;
    for (let attempt = 0; attempt < disturbedMax && !stopped(); attempt += 1) {
      const memory = access.borrow(part.length);
      if (memory === undefined) return false;
      const wasIdle = pace.isIdle;
      const finding = await access.read(part, memory).finally(() => access.giveBack(memory));
      if (finding?.mainMs === undefined) return false;
      counts.mainBytes += finding.mainBytes;
      const slowMs = baseline.slowMs(access.policies.slowReadMs);
      if (slowMs === undefined || finding.mainMs < slowMs) return false;
      if (wasIdle && pace.isIdle) return true;
    }
    return false;
  }

  async #move(granule: number): Promise<boolean> {
    const { access, budget, clock } = this.#parts;
    const { slowRead, slowMovesPerHour } = access.policies;
    if (slowRead !== 'move' || !budget.take(slowMovesPerHour, clock.nowMs())) return false;
    return await access.moveSlow(granule);
  }
}

const hourMs = 3_600_000;

/** So many in any hour, and no more. */
export class MoveBudget {
  #takenMs: number[] = [];

  take(perHour: number, nowMs: number): boolean {
    this.#takenMs = this.#takenMs.filter((takenMs) => nowMs - takenMs < hourMs);
    if (this.#takenMs.length >= perHour) return false;
    this.#takenMs.push(nowMs);
    return true;
  }
}
