import { assert } from '../block/assert.ts';
import type { InFlight } from './in-flight.ts';

/** An exclusive hold on granules `first` to `last`, both included. */
export interface GranuleLock {
  readonly first: number;
  readonly last: number;
  /** Who is resumed at its release. */
  readonly waiting: (() => void)[];
}

/**
 * Exclusive locks for moves (R1, I28). Requests take none: they ask `blocked` and wait only where a move is going on.
 *
 * A lock waits for device I/O, never for a client's request, and nobody who holds one asks for another: so there is no
 * cycle to wait in (I14).
 */
export class GranuleLocks {
  readonly #inFlight: InFlight;
  readonly #held: GranuleLock[] = [];
  /** Locks held, and what else keeps requests off the healthy path. */
  #disturbances = 0;

  constructor(inFlight: InFlight) {
    this.#inFlight = inFlight;
  }

  /** True when no move is going on anywhere and nothing is disturbed: the one comparison that a healthy request pays. */
  get idle(): boolean {
    return this.#disturbances === 0;
  }

  /** Locks that are held, or waited for by nobody but the I/O under them. */
  get heldCount(): number {
    return this.#held.length;
  }

  /** Takes requests off the healthy path, without blocking any: they look first at what is wrong. Ended by `calm`. */
  disturb(): void {
    this.#disturbances += 1;
  }

  calm(): void {
    assert(this.#disturbances > this.#held.length, 'GranuleLocks: calmed more often than disturbed');
    this.#disturbances -= 1;
  }

  /** True when a lock there would have to be waited for. */
  busy(first: number, last: number): boolean {
    return this.blocked(first, last) || this.#inFlight.overlaps(first, last);
  }

  blocked(first: number, last: number): boolean {
    return this.#blocking(first, last) !== undefined;
  }

  /** Resolves when one blocking lock was released; the caller must ask again before it begins its I/O. */
  whenUnblocked(first: number, last: number): Promise<void> {
    const lock = this.#blocking(first, last);
    if (lock === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      lock.waiting.push(resolve);
    });
  }

  /** Resolves with the lock once no other move is there and all I/O issued earlier has ended. */
  async acquire(first: number, last: number): Promise<GranuleLock> {
    while (this.blocked(first, last)) await this.whenUnblocked(first, last);
    const lock: GranuleLock = { first, last, waiting: [] };
    this.#held.push(lock);
    this.#disturbances += 1;
    await this.#inFlight.drained(first, last);
    return lock;
  }

  release(lock: GranuleLock): void {
    const index = this.#held.indexOf(lock);
    assert(index >= 0, 'GranuleLocks: released a lock that is not held');
    const [held] = this.#held.splice(index, 1);
    this.#disturbances -= 1;
    for (const resume of held!.waiting) resume();
  }

  #blocking(first: number, last: number): GranuleLock | undefined {
    for (const lock of this.#held) {
      if (lock.first <= last && lock.last >= first) return lock;
    }
    return undefined;
  }
}
