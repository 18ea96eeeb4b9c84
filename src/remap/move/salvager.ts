import type { ScheduledAction } from '../../block/clock.ts';
import type { RequestGate } from '../../block/request-gate.ts';
import type { RemapCore, UndecidedTaker } from '../remap-core.ts';
import { sectorMask } from '../table/sector-mask.ts';
import { type SalvageEntry, salvageBlock } from './salvage-block.ts';

/** Granules that wait for the salvager. What comes then is left to the next read of it, and counted. */
export const salvageQueueMax = 1024;
/** Times that a block is read before it is marked. */
export const salvageReadsMax = 3;
/** Between two reads of a block, so that two failures are two windows (R17). Twice as long each time main is away. */
export const salvagePauseMs = 1000;
export const salvageAwayPauseMsMax = 60_000;
/** Times that main may be away when a granule's turn comes; then the next read asks for it anew. */
export const salvageAwayMax = 10;

/**
 * Goes on in the background with what reads could not decide in their time (R18): one device request at a time, whatever
 * the number of readers. What main gives at last is moved to the spare when the sector is really bad (R17); what it never
 * gives is marked. Nothing runs while nothing is undecided (I24).
 */
export class Salvager implements UndecidedTaker {
  readonly #core: RemapCore;
  readonly #gate: RequestGate;
  readonly #queue = new Map<number, SalvageEntry>();
  #working = false;
  #closed = false;
  #pause: { readonly timer: ScheduledAction; readonly end: () => void } | undefined;

  /** Each step is admitted by `gate` as a request is, so that closing and suspending wait for it. */
  constructor(core: RemapCore, gate: RequestGate) {
    this.#core = core;
    this.#gate = gate;
  }

  /** Granules that wait. */
  get waiting(): number {
    return this.#queue.size;
  }

  /** True while the salvager has the granule: readers share its attempt, and ask main no more. */
  has(granule: number): boolean {
    return this.#queue.has(granule);
  }

  /** Sectors of a granule, on main, of which nobody knows yet whether they can be read. */
  add(granule: number, mask: number): void {
    const { counters, policies } = this.#core;
    if (this.#closed || policies.salvage === 'off') return;
    const entry = this.#queue.get(granule);
    if (entry !== undefined) {
      entry.mask = (entry.mask | mask) >>> 0;
      return;
    }
    if (this.#queue.size >= salvageQueueMax) {
      counters.salvageDropped += 1;
      return;
    }
    this.#queue.set(granule, {
      granule,
      mask,
      medium: 0,
      suspectOnce: 0,
      suspectTwice: 0,
      rounds: 0,
      away: 0,
      notBeforeMs: 0,
    });
    if (this.#working) return;
    this.#working = true;
    // Not caught on purpose: what rejects here is a bug of ours and must end the process.
    void this.#work();
  }

  /** What waits is dropped: the next session's reads find it anew. A step under way ends by itself. */
  close(): void {
    this.#closed = true;
    this.#queue.clear();
    this.#endPause();
  }

  async #work(): Promise<void> {
    for (;;) {
      const [entry] = this.#queue.values();
      if (entry === undefined || this.#closed || this.#core.policies.salvage === 'off') break;
      const waitMs = entry.notBeforeMs - this.#core.parts.clock.nowMs();
      if (waitMs > 0) {
        await this.#pauseFor(waitMs);
        continue;
      }
      if (!(await this.#round(entry))) break;
    }
    this.#queue.clear();
    this.#working = false;
  }

  /** One read of each block of a granule that is still undecided. False when the device has closed. */
  async #round(entry: SalvageEntry): Promise<boolean> {
    const { main, granuleBytes } = this.#core.parts;
    const step = main.geometry.logicalBlockBytes;
    const isLast = entry.rounds + 1 >= salvageReadsMax;
    for (let from = 0; from < granuleBytes && entry.mask !== 0; from += step) {
      const sectors = (sectorMask(from, from + step) & entry.mask) >>> 0;
      if (sectors === 0) continue;
      const answer = await this.#step(() => salvageBlock(this.#core, entry, from, isLast));
      if (answer === 'closed') return false;
      if (answer === 'settled') entry.mask = (entry.mask & ~sectors) >>> 0;
      if (answer !== 'away') continue;
      this.#putOff(entry);
      return true;
    }
    entry.rounds += 1;
    if (entry.mask !== 0 && !isLast) this.#requeue(entry, salvagePauseMs);
    else this.#queue.delete(entry.granule);
    return true;
  }

  /** Main is away: nothing can be said about any granule, and asking costs a dead disk's time. */
  #putOff(entry: SalvageEntry): void {
    entry.away += 1;
    if (entry.away >= salvageAwayMax) {
      this.#queue.delete(entry.granule);
      this.#core.counters.salvageDropped += 1;
      return;
    }
    this.#requeue(entry, Math.min(salvageAwayPauseMsMax, salvagePauseMs * 2 ** entry.away));
  }

  /** To the end of the queue: its turn comes again after everybody else's. */
  #requeue(entry: SalvageEntry, pauseMs: number): void {
    entry.notBeforeMs = this.#core.parts.clock.nowMs() + pauseMs;
    this.#queue.delete(entry.granule);
    this.#queue.set(entry.granule, entry);
  }

  async #step<T>(action: () => Promise<T>): Promise<T | 'closed'> {
    while (!this.#gate.enter()) {
      if (!(await this.#gate.reopened())) return 'closed';
    }
    try {
      return await action();
    } finally {
      this.#gate.leave();
    }
  }

  #pauseFor(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#core.parts.clock.schedule(waitMs, resolve);
      this.#pause = { timer, end: resolve };
    });
  }

  #endPause(): void {
    this.#pause?.timer.cancel();
    this.#pause?.end();
    this.#pause = undefined;
  }
}
