import { freshRegionBytes } from '../../metadata/layout.ts';
import type { FreshEndedRecord, StateCursor } from '../../metadata/mapping-state.ts';

/**
 * Which regions of a fresh main were written to (R13). One bit a region, at most 32 768 of them: a pass of a checkpoint
 * reads them in place.
 */
export class FreshRegions {
  /** 0 when nothing of main is fresh. */
  readonly regionCount: number;
  readonly regionBytes: number;
  readonly #ended: Uint8Array;
  #endedCount = 0;

  /** `freshSizeBytes`: of main at creation; what lies behind is not fresh. */
  constructor(freshSizeBytes: number) {
    this.regionBytes = freshRegionBytes(freshSizeBytes);
    this.regionCount = Math.ceil(freshSizeBytes / this.regionBytes);
    this.#ended = new Uint8Array(this.regionCount);
  }

  get endedCount(): number {
    return this.#endedCount;
  }

  /** True for a region that is not fresh, or no more. */
  hasEnded(region: number): boolean {
    return region >= this.regionCount || this.#ended[region] === 1;
  }

  end(region: number, regionCount: number): void {
    for (let at = region; at < Math.min(this.regionCount, region + regionCount); at += 1) {
      this.#endedCount += 1 - this.#ended[at]!;
      this.#ended[at] = 1;
    }
  }

  /** Ended regions at or behind `next`, in runs: the last section of a checkpoint. */
  recordsAfter(
    next: number,
    limit: number,
  ): { records: FreshEndedRecord[]; cursor: StateCursor | undefined } {
    const records: FreshEndedRecord[] = [];
    let from = this.#ended.indexOf(1, next);
    while (from !== -1) {
      if (records.length === limit) return { records, cursor: { section: 'fresh-ended', next: from } };
      const end = this.#ended.indexOf(0, from);
      const to = end === -1 ? this.regionCount : end;
      records.push({ type: 'fresh-ended', region: from, regionCount: to - from });
      from = end === -1 ? -1 : this.#ended.indexOf(1, to);
    }
    return { records, cursor: undefined };
  }
}
