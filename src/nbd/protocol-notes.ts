import type { Clock } from '../block/clock.ts';
import { protocolNotesPerMinuteMax } from './limits.ts';

/** Longest note that is passed on, characters. */
const noteLengthMax = 300;
const windowMs = 60_000;

/**
 * What clients did wrong, for people: bounded in length and in number, since whoever reaches the socket may cause one.
 * What was held back is told with the next note that passes.
 */
export class ProtocolNotes {
  readonly #clock: Clock;
  readonly #pass: (message: string) => void;
  #windowStartMs = Number.NEGATIVE_INFINITY;
  #passed = 0;
  #suppressed = 0;

  constructor(clock: Clock, pass: (message: string) => void) {
    this.#clock = clock;
    this.#pass = pass;
  }

  add(message: string): void {
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#windowStartMs >= windowMs) {
      this.#windowStartMs = nowMs;
      this.#passed = 0;
    }
    if (this.#passed >= protocolNotesPerMinuteMax) {
      this.#suppressed += 1;
      return;
    }
    this.#passed += 1;
    const held = this.#suppressed === 0 ? '' : ` (${this.#suppressed} earlier notes suppressed)`;
    this.#suppressed = 0;
    this.#pass(message.slice(0, noteLengthMax) + held);
  }
}
