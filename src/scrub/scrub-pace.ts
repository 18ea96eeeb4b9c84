import type { Clock } from '../block/clock.ts';
import { arrearsMsMax, busyPauseMsMin, busyShare, idleAfterMs } from './scrub-limits.ts';

export interface ScrubPaceParts {
  readonly clock: Clock;
  /** Requests of clients that have ended so far; only that it changes counts. */
  readonly clientRequests: () => number;
  /** Requests of others that are under way. */
  readonly othersInFlight: () => number;
  /** 0: no limit. */
  readonly bytesPerSecondMax: () => number;
}

/** How fast a scrub may read: at its rate while nobody uses the disks, and in a small share of the time while somebody does. */
export class ScrubPace {
  readonly #parts: ScrubPaceParts;
  #requestsSeen: number;
  #busyAtMs: number;
  /** When what was read so far would be over at the rate. */
  #dueMs: number;

  constructor(parts: ScrubPaceParts) {
    this.#parts = parts;
    this.#requestsSeen = parts.clientRequests();
    this.#dueMs = parts.clock.nowMs();
    this.#busyAtMs = this.#dueMs - idleAfterMs;
  }

  /** True when no client has asked for anything lately. */
  get isIdle(): boolean {
    const { clock, clientRequests, othersInFlight } = this.#parts;
    const requests = clientRequests();
    const nowMs = clock.nowMs();
    if (requests !== this.#requestsSeen || othersInFlight() > 0) this.#busyAtMs = nowMs;
    this.#requestsSeen = requests;
    return nowMs - this.#busyAtMs >= idleAfterMs;
  }

  /** Milliseconds until the next read may begin, after one of so many bytes that took `tookMs`. */
  pauseMs(bytes: number, tookMs: number): number {
    const nowMs = this.#parts.clock.nowMs();
    const rate = this.#parts.bytesPerSecondMax();
    this.#dueMs =
      rate === 0 ? nowMs : Math.max(this.#dueMs, nowMs - tookMs - arrearsMsMax) + (bytes / rate) * 1000;
    const forRate = Math.max(0, this.#dueMs - nowMs);
    if (this.isIdle) return forRate;
    return Math.max(forRate, busyPauseMsMin, tookMs * (1 / busyShare - 1));
  }
}
