import type { Change, JudgedSectors } from '../../nbd/judged-sectors.ts';
import { must } from '../engine/fuzz-target.ts';

/** What one client was told of flushes that failed: so many at least, and at most. */
export interface ToldFlushes {
  min: number;
  max: number;
}

/** A change that was acknowledged and is not known to be durable. */
export interface Acknowledged {
  readonly change: Change;
  readonly told: ToldFlushes;
  /** A flush failed behind it: only its own client's next flush says anything about it (R7). */
  isInDoubt: boolean;
}

/** What a FLUSH, or anything with FUA, may be answered, and what its success promises. */
export class FlushJudge {
  readonly #sectors: JudgedSectors;
  readonly #acknowledged = new Set<Acknowledged>();
  /** The device itself tells of each with one FLUSH, whoever's it is and whatever FUA has told before. */
  #toldByFlush = 0;
  failedFlushes = 0;

  constructor(sectors: JudgedSectors) {
    this.#sectors = sectors;
  }

  newClient(): ToldFlushes {
    return { min: this.failedFlushes, max: this.failedFlushes };
  }

  /** A flush of main has failed, and some of what it was to make durable is gone. */
  flushFailed(): void {
    this.failedFlushes += 1;
    this.#sectors.forgetUnstable();
    for (const each of this.#acknowledged) each.isInDoubt = true;
  }

  /** What a FLUSH that is sent now covers. */
  covered(): readonly Acknowledged[] {
    return [...this.#acknowledged];
  }

  /** `failedBefore`: flushes that had failed when it was sent. Of one that failed meanwhile everybody hears who waited for it. */
  mayFail(told: ToldFlushes, isFlush: boolean, failedBefore: number): boolean {
    const untold = isFlush ? Math.min(told.min, this.#toldByFlush) : told.min;
    return this.failedFlushes > Math.min(untold, failedBefore);
  }

  succeeded(told: ToldFlushes, failedBefore: number, what: string): void {
    must(told.max >= failedBefore, `${what} succeeded, and its client was not told of a failed flush`);
  }

  failed(told: ToldFlushes, isFlush: boolean, failedBefore: number): void {
    const next = (before: number): number => Math.max(failedBefore, Math.min(before + 1, this.failedFlushes));
    told.max = this.failedFlushes;
    // What fails with FUA may have failed by itself: then the next one still tells.
    if (isFlush) {
      told.min = next(told.min);
      this.#toldByFlush = next(this.#toldByFlush);
    }
    for (const each of this.#acknowledged) {
      if (each.told === told && each.isInDoubt) this.#acknowledged.delete(each);
    }
  }

  acknowledge(change: Change, told: ToldFlushes): void {
    this.#acknowledged.add({ change, told, isInDoubt: false });
  }

  /** A good FLUSH of one client. */
  flushed(covered: readonly Acknowledged[], told: ToldFlushes): void {
    for (const each of covered) {
      // Of what another client has in doubt, its own flush tells.
      if (each.isInDoubt && each.told !== told) continue;
      if (this.#acknowledged.delete(each)) this.#sectors.makeDurable(each.change);
    }
  }

  /** Nobody will be told about its changes any more. */
  gone(told: ToldFlushes): void {
    for (const each of this.#acknowledged) if (each.told === told) this.#acknowledged.delete(each);
  }
}
