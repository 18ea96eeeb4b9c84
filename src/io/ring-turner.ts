import { availableParallelism } from 'node:os';
import { assert } from '../block/assert.ts';
import { Errno, errnoName } from '../block/errno.ts';
import { EventDescriptor } from '../linux/event-descriptor.ts';
import type { CompletionHandler, Ring } from '../linux/ring.ts';

/** The engine, as the turner sees it. */
export interface TurnWork {
  /** Pushes what waits to be submitted; returns how many entries were pushed. */
  fill(): number;
  readonly complete: CompletionHandler;
  /** Requests that the kernel has. */
  readonly inKernel: number;
}

/** Immediates queued at one wake: Node drains the microtasks between them, so each one sees what the last set off. */
const turnsPerWake = 4;
/** A spin is worth it while the next request of a client at queue depth 1 is near. */
const freshTrafficMs = 1;
/** Looks at the ring between two looks at the clock: 32 loads cost about as much as one `performance.now`. */
const looksPerClock = 32;
const emptySpinsBeforeHalving = 10;
const spinUsMin = 1;
/** Retries of an interrupted enter before the event loop gets its turn. */
const interruptedEntersMax = 16;
/** The kernel is short of memory or its queue is full: nothing will wake us, so we ask again. */
const refusedRetryMs = 1;

/**
 * Turns the ring on Node's event loop. Nothing blocks in the kernel: a blocking turn is no faster at depth and makes
 * timers late (a 100 ms timer fired after 2 403 ms).
 *
 *     asleep ── eventfd or a new request ──► turning: passes until nothing moves ──► short spin ──► asleep
 *
 * While turning, the eventfd is quiet. Before sleeping it is switched on and the ring looked at once more, so that a
 * completion between the last pass and the switch is not lost.
 */
export class RingTurner {
  readonly #ring: Ring;
  readonly #work: TurnWork;
  readonly #event: EventDescriptor;
  readonly #spinUsMax: number;
  #spinUs: number;
  #emptySpins = 0;
  #asleep = true;
  #turnsQueued = 0;
  #lastRequestMs = Number.NEGATIVE_INFINITY;
  #retryTimer: NodeJS.Timeout | undefined;
  #closed = false;
  /** Ring passes since the start, for tests and measurements. */
  passes = 0;

  constructor(ring: Ring, work: TurnWork, spinUs: number) {
    this.#ring = ring;
    this.#work = work;
    // With one CPU a spin only keeps away whom we wait for.
    this.#spinUsMax = availableParallelism() > 1 ? spinUs : 0;
    this.#spinUs = this.#spinUsMax;
    // The callback only schedules: see EventDescriptor.
    this.#event = new EventDescriptor(() => this.wake());
    try {
      ring.registerEventfd(this.#event.fd);
    } catch (error) {
      this.#event.close();
      throw error;
    }
  }

  /** Makes sure that a pass comes soon. */
  wake(): void {
    if (!this.#asleep || this.#closed) return;
    this.#asleep = false;
    this.#ring.notify(false);
    this.#queueTurns();
  }

  /** Submits now, in the middle of a pass, because the queue is full. */
  submit(): void {
    for (let attempt = 0; attempt < interruptedEntersMax; attempt += 1) {
      const errno = this.#ring.enter();
      if (errno === 0) return;
      if (errno === Errno.EINTR) continue;
      assert(
        errno === Errno.EAGAIN || errno === Errno.EBUSY || errno === Errno.ENOMEM,
        `io_uring_enter: ${errnoName(errno)}`,
      );
      return;
    }
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retryTimer);
    this.#event.close();
  }

  #queueTurns(): void {
    while (this.#turnsQueued < turnsPerWake) {
      this.#turnsQueued += 1;
      setImmediate(this.#turn);
    }
  }

  readonly #turn = (): void => {
    this.#turnsQueued -= 1;
    // An earlier turn of this batch found nothing to do.
    if (this.#asleep || this.#closed) return;
    if (this.#pass() || this.#spin()) {
      if (this.#turnsQueued === 0) this.#queueTurns();
    } else {
      this.#sleep();
    }
  };

  #pass(): boolean {
    this.passes += 1;
    const pushed = this.#work.fill();
    if (pushed > 0) this.#lastRequestMs = performance.now();
    if (this.#ring.unsubmitted > 0 || this.#ring.hasWork()) this.submit();
    const reaped = this.#ring.reap(this.#work.complete);
    return pushed > 0 || reaped > 0;
  }

  /** Looks at the ring without system calls for a moment; true when that led to a pass that moved something. */
  #spin(): boolean {
    if (this.#spinUs === 0 || this.#work.inKernel === 0) return false;
    let nowMs = performance.now();
    if (nowMs - this.#lastRequestMs > freshTrafficMs) return false;
    const untilMs = nowMs + this.#spinUs / 1000;
    do {
      for (let look = 0; look < looksPerClock; look += 1) {
        if (!this.#ring.hasWork()) continue;
        this.#emptySpins = 0;
        this.#spinUs = Math.min(this.#spinUs * 2, this.#spinUsMax);
        return this.#pass();
      }
      nowMs = performance.now();
    } while (nowMs < untilMs);
    this.#emptySpins += 1;
    if (this.#emptySpins >= emptySpinsBeforeHalving) {
      this.#emptySpins = 0;
      this.#spinUs = Math.max(this.#spinUs / 2, Math.min(spinUsMin, this.#spinUsMax));
    }
    return false;
  }

  #sleep(): void {
    this.#ring.notify(true);
    if (this.#ring.hasWork()) {
      this.#ring.notify(false);
      this.#queueTurns();
      return;
    }
    this.#asleep = true;
    if (this.#ring.unsubmitted === 0 || this.#retryTimer !== undefined) return;
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      this.wake();
    }, refusedRetryMs);
  }
}
