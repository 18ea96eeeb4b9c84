import type { Clock, ScheduledAction } from '../block/clock.ts';
import { RequestLatencies } from './request-latencies.ts';

/** Ages are counted in ticks of this. */
export const ageTickMs = 1_000;

/** Of a request that is not under way. */
export const notUnderWay = -1;

/**
 * Where a request is that has no answer yet, as far as the server knows:
 *
 * - `suspended`         its bytes are read, and admission is stopped (R30)
 * - `connection-limit`  its connection has as many requests under way as it may
 * - `memory`            the pool has no piece for it (R36)
 * - `earlier-write`     a write of another connection to the same bytes must land first
 * - `device`            the device has it
 * - `reply`             it has its result, which the client has not taken yet
 */
export type ServerPhase = 'suspended' | 'connection-limit' | 'memory' | 'earlier-write' | 'device' | 'reply';

/** One request without an answer. */
export interface UnansweredRequest {
  readonly command: number;
  readonly offset: number;
  readonly length: number;
  /** The tick at which it was parsed. */
  readonly startedTick: number;
  readonly phase: ServerPhase;
}

/** The requests of a server that are at least so old: all of them counted, the oldest named. */
export interface UnansweredRequests {
  readonly count: number;
  readonly oldest: readonly (UnansweredRequest & { readonly ageSeconds: number })[];
}

/** Whoever knows requests shows them here, one by one. */
export type ShowRequest = (request: UnansweredRequest) => void;

/**
 * Seconds, counted while any request is under way: its age then costs a request one number and no clock, and an idle server
 * has no timer (I22). What they took is told in `latencies`, once they have it behind them.
 */
export class RequestAges {
  readonly latencies: RequestLatencies;
  readonly #clock: Clock;
  readonly #isBusy: () => boolean;
  readonly #onTick: () => void;
  #timer: ScheduledAction | undefined;
  #tick = 0;
  #closed = false;

  /** `onTick` is called once a second, for as long as `isBusy` says so. */
  constructor(clock: Clock, isBusy: () => boolean, onTick: () => void) {
    this.#clock = clock;
    this.latencies = new RequestLatencies(clock);
    this.#isBusy = isBusy;
    this.#onTick = onTick;
  }

  get tick(): number {
    return this.#tick;
  }

  /** A request begins: the tick of its start. */
  start(): number {
    if (this.#timer === undefined) this.#schedule();
    return this.#tick;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#timer = this.#clock.schedule(ageTickMs, () => {
      this.#timer = undefined;
      this.#tick += 1;
      this.#onTick();
      if (this.#timer === undefined && this.#isBusy()) this.#schedule();
    });
  }
}

/**
 * Those of the requests that `showAll` shows that began `minAgeTicks` ago or earlier. Called every second of a busy server: where
 * nothing is so old, nothing is kept.
 */
export function findUnanswered(
  tick: number,
  minAgeTicks: number,
  listedMax: number,
  showAll: (show: ShowRequest) => void,
): UnansweredRequests {
  const found: UnansweredRequest[] = [];
  let count = 0;
  showAll((request) => {
    if (tick - request.startedTick < minAgeTicks) return;
    count += 1;
    const { command, offset, length, startedTick, phase } = request;
    found.push({ command, offset, length, startedTick, phase });
  });
  const oldest = found
    .sort((a, b) => a.startedTick - b.startedTick)
    .slice(0, listedMax)
    .map((request) => ({ ...request, ageSeconds: ((tick - request.startedTick) * ageTickMs) / 1000 }));
  return { count, oldest };
}
