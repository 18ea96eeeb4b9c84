import { DeviceError } from '../block/device-error.ts';
import { Errno } from '../block/errno.ts';
import type { DiskCounts } from './disk-counts.ts';
import { type DiskRequest, forEachSector } from './disk-request.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { SectorContent } from './simulated-media.ts';

/** Somebody waits for late requests of a range to end. */
interface DrainWaiter {
  readonly offset: number;
  readonly length: number;
  readonly resolve: () => void;
}

export interface DiskQueueParts {
  readonly name: string;
  readonly counts: DiskCounts;
  readonly blockSectors: number;
  /** False for a sector that no write can reach. */
  readonly isWritable: (sector: number) => boolean;
}

/** How many of the sectors that were under way arrive when a process dies. */
const arrivals = [0, 0.5, 1] as const;

/** The requests that a simulated disk has not done: who waits for them, and what becomes of them when their sender dies. */
export class DiskQueue {
  readonly #parts: DiskQueueParts;
  readonly #requests = new Set<DiskRequest>();
  readonly #stuck = new Set<DiskRequest>();
  readonly #drainWaiters = new Set<DrainWaiter>();

  constructor(parts: DiskQueueParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#requests.size;
  }

  /** All of them, oldest first. */
  requests(): Iterable<DiskRequest> {
    return this.#requests;
  }

  add(request: DiskRequest): void {
    this.#requests.add(request);
  }

  stick(request: DiskRequest): void {
    this.#stuck.add(request);
  }

  /** Those that hung: none hangs any more. */
  takeStuck(): DiskRequest[] {
    const requests = [...this.#stuck];
    this.#stuck.clear();
    return requests;
  }

  /** A deadline answers the caller; the request lives on (R3). */
  expire(request: DiskRequest): void {
    if (request.dead || request.settled) return;
    request.answered = true;
    const { offset, length } = request;
    this.#parts.counts.failed += 1;
    const range = { offset, length, kind: 'timed-out', errno: Errno.ETIMEDOUT } as const;
    request.reject(new DeviceError(this.#parts.name, [range]));
  }

  /** The disk is done with it. */
  answer(request: DiskRequest): void {
    const { counts, name } = this.#parts;
    request.settled = true;
    this.#requests.delete(request);
    counts.settled += 1;
    if (request.answered) {
      this.#notifyDrained();
      return;
    }
    if (request.failedRanges.length === 0) {
      request.resolve();
      return;
    }
    counts.failed += 1;
    request.reject(new DeviceError(name, request.failedRanges));
  }

  /** Resolves when no request on the range that was answered by its deadline is alive (R3). */
  drained(offset: number, length: number): Promise<void> {
    if (!this.#isZombieOn(offset, length)) return Promise.resolve();
    return new Promise((resolve) => {
      this.#drainWaiters.add({ offset, length, resolve });
    });
  }

  /** Their process is gone: none of them is ever answered. */
  abandon(): void {
    this.#drainWaiters.clear();
    for (const request of this.#requests) request.dead = true;
    this.#requests.clear();
    this.#stuck.clear();
  }

  /** The kernel has the requests of a dead process queued: they are done whole, not at all, or in part. */
  arriving(random: SeededRandom): SectorContent[] {
    const probability = random.pick(arrivals);
    let block = -1;
    let arrives = false;
    return this.interruptedSectors().filter(({ sector }) => {
      const next = Math.floor(sector / this.#parts.blockSectors);
      if (next !== block) arrives = random.chance(probability);
      block = next;
      return arrives;
    });
  }

  /** Writes that have not taken effect: each of their sectors may or may not get there. */
  interruptedSectors(): SectorContent[] {
    const sectors: SectorContent[] = [];
    for (const request of this.#requests) {
      if (request.effected || request.kind === 'read' || request.kind === 'flush') continue;
      forEachSector(request, (sector, bytes) => {
        if (this.#parts.isWritable(sector)) sectors.push({ sector, bytes });
      });
    }
    return sectors;
  }

  #isZombieOn(offset: number, length: number): boolean {
    for (const request of this.#requests) {
      const overlaps = request.offset < offset + length && offset < request.offset + request.length;
      if (request.answered && overlaps) return true;
    }
    return false;
  }

  #notifyDrained(): void {
    for (const waiter of this.#drainWaiters) {
      if (this.#isZombieOn(waiter.offset, waiter.length)) continue;
      this.#drainWaiters.delete(waiter);
      waiter.resolve();
    }
  }
}
