import type { DeviceEvent } from '../event-kinds.ts';
import type { WaitingRequests } from '../messages.ts';
import { stuckAfterSeconds, stuckListedMax } from '../stuck-limits.ts';

/** While requests stay stuck they are told again after this long, and after twice as long each time. */
export const retellAfterSeconds = 20;
export const retellAfterSecondsMax = 600;

/**
 * What the watchdog says:
 *
 * - `begun`  requests have become stuck: none was
 * - `still`  some are
 * - `ended`  every one of them has its answer; `requests` is empty
 */
export interface StuckReport {
  readonly event: 'begun' | 'still' | 'ended';
  readonly requests: WaitingRequests;
  /** The greatest age seen since `begun`. */
  readonly longestSeconds: number;
}

/** As the log keeps it. */
export function stuckEvent({ event, requests, longestSeconds }: StuckReport): DeviceEvent {
  if (event === 'ended') return { kind: 'stuck-ended', longestAgeMs: longestSeconds * 1000 };
  const { count, oldest } = requests;
  const [first] = oldest;
  const oldestAgeMs = (first?.ageSeconds ?? 0) * 1000;
  return { kind: 'stuck-requests', count, oldestAgeMs, phase: first?.phase ?? '', oldest };
}

export interface StuckWatchParts {
  /** As `ServedStack.unanswered`. */
  readonly unanswered: (minAgeSeconds: number, listedMax: number) => WaitingRequests;
  readonly tell: (report: StuckReport) => void;
}

/**
 * I22: looks once a second while any request has no answer, and tells which have had none for too long: once when they become
 * stuck, then less and less often, and once when all have theirs. It changes nothing: a request waits for its disk as long as
 * it takes (R3, R35).
 */
export class StuckWatch {
  readonly #parts: StuckWatchParts;
  /** Requests at the last look. */
  #count = 0;
  #longestSeconds = 0;
  #secondsToNextReport = 0;
  #retellAfterSeconds: number = retellAfterSeconds;

  constructor(parts: StuckWatchParts) {
    this.#parts = parts;
  }

  /** To be called once a second while any request has no answer, and once after the last has. */
  look(): void {
    const requests = this.#parts.unanswered(stuckAfterSeconds, stuckListedMax);
    if (requests.count === 0) {
      if (this.#count > 0) this.#end(requests);
      return;
    }
    this.#longestSeconds = Math.max(this.#longestSeconds, requests.oldest[0]?.ageSeconds ?? 0);
    this.#secondsToNextReport -= 1;
    if (this.#count === 0) this.#begin(requests);
    else if (this.#secondsToNextReport <= 0) this.#tellAgain(requests);
    this.#count = requests.count;
  }

  #begin(requests: WaitingRequests): void {
    this.#retellAfterSeconds = retellAfterSeconds;
    this.#secondsToNextReport = retellAfterSeconds;
    this.#tell('begun', requests);
  }

  #tellAgain(requests: WaitingRequests): void {
    this.#retellAfterSeconds = Math.min(retellAfterSecondsMax, 2 * this.#retellAfterSeconds);
    this.#secondsToNextReport = this.#retellAfterSeconds;
    this.#tell('still', requests);
  }

  #end(requests: WaitingRequests): void {
    this.#tell('ended', requests);
    this.#count = 0;
    this.#longestSeconds = 0;
  }

  #tell(event: StuckReport['event'], requests: WaitingRequests): void {
    this.#parts.tell({ event, requests, longestSeconds: this.#longestSeconds });
  }
}
