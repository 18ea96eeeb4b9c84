import type { Alert } from './alert.ts';
import type { AlertPosition } from './alert-position.ts';

/** Alerts that wait for one receiver; of more only the number is told. */
export const alertsWaitingMax = 1_000;
/** After a failure, doubled with each in a row up to the second number. */
export const retryDelayMinMs = 60_000;
export const retryDelayMaxMs = 3_600_000;

/** Somebody who is told. */
export interface Receiver {
  /** Names it in the file of positions and in complaints: `mail root`. */
  readonly name: string;
  /** Tells several at one time; another one is told of each by itself while there is allowance. */
  readonly joins: boolean;
  /** How many times it may be told in a row, and how long until it may be told once more. */
  readonly burst: number;
  readonly refillMs: number;
  /** `omitted`: how many more there were. Rejects with an `Error` whose message is one clause. */
  deliver(alerts: readonly Alert[], omitted: number): Promise<void>;
}

/**
 * What waits for one receiver. Nothing is dropped unsaid: what may not be told yet, or could not be, waits and is told together.
 */
export class Delivery {
  readonly receiver: Receiver;
  readonly position: AlertPosition;
  readonly #complain: (line: string) => void;
  #waiting: Alert[] = [];
  #omitted = 0;
  #allowance: number;
  #allowanceMs = 0;
  #failures = 0;
  #retryMs = 0;
  /** Some waited for allowance: they are told in one. */
  #held = false;

  constructor(receiver: Receiver, position: AlertPosition, complain: (line: string) => void) {
    this.receiver = receiver;
    this.position = position;
    this.#complain = complain;
    this.#allowance = receiver.burst;
  }

  get waiting(): number {
    return this.#waiting.length + this.#omitted;
  }

  /** An alert that it has heard of already is nothing. */
  offer(alert: Alert): void {
    if (!this.position.isNew(alert) || this.#waiting.some((one) => isSame(one, alert))) return;
    if (this.#waiting.length < alertsWaitingMax) this.#waiting.push(alert);
    else this.#omitted += 1;
  }

  /** Tells what may be told now. True when its position moved. `nowMs` never goes backwards. */
  async run(nowMs: number): Promise<boolean> {
    this.#refill(nowMs);
    let moved = false;
    while (this.waiting > 0 && nowMs >= this.#retryMs && this.#allowance >= 1) {
      const count = this.receiver.joins || this.#held ? this.#waiting.length : 1;
      if (!(await this.#tell(this.#waiting.slice(0, count), nowMs))) break;
      moved = true;
    }
    if (this.waiting > 0 && this.#allowance < 1) this.#held = true;
    return moved;
  }

  async #tell(alerts: readonly Alert[], nowMs: number): Promise<boolean> {
    const isAll = alerts.length === this.#waiting.length;
    try {
      await this.receiver.deliver(alerts, isAll ? this.#omitted : 0);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      this.#failed(error, nowMs);
      return false;
    }
    for (const alert of alerts) this.position.advance(alert);
    this.#waiting = this.#waiting.slice(alerts.length);
    if (isAll) this.#omitted = 0;
    this.#allowance -= 1;
    this.#failures = 0;
    this.#held = false;
    return true;
  }

  #failed(error: Error, nowMs: number): void {
    const delayMs = Math.min(retryDelayMaxMs, retryDelayMinMs * 2 ** Math.min(this.#failures, 16));
    this.#failures += 1;
    this.#retryMs = nowMs + delayMs;
    this.#complain(
      `${this.receiver.name}: ${error.message}; ${this.waiting} alerts wait, again in ${delayMs / 60_000} min`,
    );
  }

  #refill(nowMs: number): void {
    const { burst, refillMs } = this.receiver;
    const earned = Math.floor((nowMs - this.#allowanceMs) / refillMs);
    if (earned <= 0) return;
    this.#allowance = Math.min(burst, this.#allowance + earned);
    this.#allowanceMs += earned * refillMs;
  }
}

function isSame(one: Alert, other: Alert): boolean {
  return one.source === other.source && one.sequence === other.sequence && one.orderMs === other.orderMs;
}
