import { assert } from '../block/assert.ts';
import type { Clock, ScheduledAction } from '../block/clock.ts';
import type { SeededRandom } from './seeded-random.ts';

/** The awaited work can never finish: nothing is left that could happen. */
export class SimulationDeadlock extends Error {
  override readonly name = 'SimulationDeadlock';
}

/** The simulated system goes on for ever: more events than any run needs. */
export class SimulationLivelock extends Error {
  override readonly name = 'SimulationLivelock';
}

/** Enough for minutes of real time (about 500 000 events a second); a run that needs more is caught in a loop. */
export const eventsMaxDefault = 20_000_000;

/** 2026-01-01 UTC: what `unixMs` says at virtual time 0. */
const unixStartMsDefault = 1_767_225_600_000;

interface Event {
  readonly atMs: number;
  readonly tieBreak: number;
  readonly sequence: number;
  action: (() => void) | undefined;
}

function before(left: Event, right: Event): boolean {
  if (left.atMs !== right.atMs) return left.atMs < right.atMs;
  if (left.tieBreak !== right.tieBreak) return left.tieBreak < right.tieBreak;
  return left.sequence < right.sequence;
}

export interface VirtualClockOptions {
  readonly unixStartMs?: number;
  readonly eventsMax?: number;
  /** What a driver does between two events, while this time stands still: undefined for nothing. */
  readonly betweenEvents?: () => Promise<void> | undefined;
}

/**
 * Time that moves only from event to event. Events at one time happen in an order drawn from the seed.
 * After each event every microtask runs to the end before the next event: what `await`s together, happens together.
 */
export class VirtualClock implements Clock {
  readonly #random: SeededRandom;
  readonly #unixStartMs: number;
  readonly #eventsMax: number;
  readonly #betweenEvents: (() => Promise<void> | undefined) | undefined;
  /** A binary heap, the next event first. Cancelled events stay until their time comes. */
  readonly #heap: Event[] = [];
  #nowMs = 0;
  #sequence = 0;
  #eventsRun = 0;
  #running = false;

  constructor(random: SeededRandom, options: VirtualClockOptions = {}) {
    this.#random = random;
    this.#unixStartMs = options.unixStartMs ?? unixStartMsDefault;
    this.#eventsMax = options.eventsMax ?? eventsMaxDefault;
    this.#betweenEvents = options.betweenEvents;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  unixMs(): number {
    return this.#unixStartMs + Math.floor(this.#nowMs);
  }

  /** Events that have happened: a measure of a run's length, equal in equal runs. */
  get eventsRun(): number {
    return this.#eventsRun;
  }

  schedule(delayMs: number, action: () => void): ScheduledAction {
    assert(delayMs >= 0 && Number.isFinite(delayMs), `schedule: ${delayMs} is not a delay`);
    this.#sequence += 1;
    const event: Event = {
      atMs: this.#nowMs + delayMs,
      tieBreak: this.#random.u32(),
      sequence: this.#sequence,
      action,
    };
    this.#push(event);
    return {
      cancel: () => {
        event.action = undefined;
      },
    };
  }

  /** Runs events until `promise` settles, and gives what it gives. Throws `SimulationDeadlock` when it cannot settle. */
  async run<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const settle = () => {
      settled = true;
    };
    promise.then(settle, settle);
    await this.runUntil(() => settled);
    return promise;
  }

  /**
   * Runs events until `done`, asked after each of them; for a world that may lose its power on the way.
   * Throws `SimulationDeadlock` when no event is left before.
   */
  async runUntil(done: () => boolean): Promise<void> {
    const finished = await this.#turn(done, Number.POSITIVE_INFINITY);
    if (!finished) {
      throw new SimulationDeadlock(
        `deadlock at ${this.#nowMs} ms of virtual time, after ${this.#eventsRun} events: ` +
          'the awaited promise is pending and nothing is scheduled that could settle it',
      );
    }
  }

  /** Runs every event there is, and those that they schedule. Recurring timers must be cancelled first. */
  async runUntilIdle(): Promise<void> {
    await this.#turn(() => false, Number.POSITIVE_INFINITY);
  }

  /** Runs what happens in the next `durationMs`; the time is exactly that much later afterwards. */
  async runFor(durationMs: number): Promise<void> {
    const untilMs = this.#nowMs + durationMs;
    await this.#turn(() => false, untilMs);
    this.#nowMs = untilMs;
  }

  /** True when `done`, false when nothing is left to happen up to `untilMs`. */
  async #turn(done: () => boolean, untilMs: number): Promise<boolean> {
    assert(!this.#running, 'VirtualClock: one driver at a time');
    this.#running = true;
    try {
      await microtasksDrained();
      await this.#betweenEvents?.();
      while (!done()) {
        const event = this.#next(untilMs);
        if (event === undefined) return false;
        this.#eventsRun += 1;
        if (this.#eventsRun > this.#eventsMax) {
          throw new SimulationLivelock(`more than ${this.#eventsMax} events, at ${this.#nowMs} ms`);
        }
        this.#nowMs = event.atMs;
        event.action?.();
        await microtasksDrained();
        const between = this.#betweenEvents?.();
        if (between !== undefined) await between;
      }
      return true;
    } finally {
      this.#running = false;
    }
  }

  #next(untilMs: number): Event | undefined {
    while (this.#heap.length > 0) {
      if (this.#heap[0]!.atMs > untilMs) return undefined;
      const event = this.#pop();
      if (event.action !== undefined) return event;
    }
    return undefined;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): Event {
    const heap = this.#heap;
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child += 1;
      if (!before(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

/**
 * Resolves when no microtask is left. Draining a fixed number of them instead would give a different, equally
 * repeatable trace, and no test would notice: a turn of the real event loop is the only complete drain.
 */
function microtasksDrained(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/**
 * The clock of one run of a process. When the process dies, by signal or by power cut, `end` makes sure that nothing
 * it had scheduled ever happens, as nothing of it runs on a real machine.
 */
export class GenerationClock implements Clock {
  readonly #below: Clock;
  #ended = false;

  constructor(below: Clock) {
    this.#below = below;
  }

  nowMs(): number {
    return this.#below.nowMs();
  }

  unixMs(): number {
    return this.#below.unixMs();
  }

  schedule(delayMs: number, action: () => void): ScheduledAction {
    return this.#below.schedule(delayMs, () => {
      if (!this.#ended) action();
    });
  }

  end(): void {
    this.#ended = true;
  }
}
