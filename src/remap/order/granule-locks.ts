import { assert } from '../../block/assert.ts';
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
  /** Locks of one granule, which is all but a few: a look must stay cheap when hundreds are held (R36). */
  readonly #single = new Map<number, GranuleLock>();
  readonly #wide = new Set<GranuleLock>();
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
    return this.#single.size + this.#wide.size;
  }

  /** Takes requests off the healthy path, without blocking any: they look first at what is wrong. Ended by `calm`. */
  disturb(): void {
    this.#disturbances += 1;
  }

  calm(): void {
    assert(this.#disturbances > this.heldCount, 'GranuleLocks: calmed more often than disturbed');
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
    if (first === last) this.#single.set(first, lock);
    else this.#wide.add(lock);
    this.#disturbances += 1;
    await this.#inFlight.drained(first, last);
    return lock;
  }

  release(lock: GranuleLock): void {
    const isHeld = this.#single.get(lock.first) === lock || this.#wide.has(lock);
    assert(isHeld, 'GranuleLocks: released a lock that is not held');
    if (lock.first === lock.last) this.#single.delete(lock.first);
    else this.#wide.delete(lock);
    this.#disturbances -= 1;
    for (const resume of lock.waiting) resume();
  }

  #blocking(first: number, last: number): GranuleLock | undefined {
    if (this.#disturbances === 0) return undefined;
    for (const lock of this.#wide) if (overlaps(lock, first, last)) return lock;
    // By granule or by lock, whichever are fewer: 512 locks cost a small request 1 µs otherwise.
    if (last - first < this.#single.size) {
      for (let granule = first; granule <= last; granule += 1) {
        const lock = this.#single.get(granule);
        if (lock !== undefined) return lock;
      }
      return undefined;
    }
    for (const lock of this.#single.values()) if (overlaps(lock, first, last)) return lock;
    return undefined;
  }
}

function overlaps(lock: GranuleLock, first: number, last: number): boolean {
  return lock.first <= last && lock.last >= first;
}
