import type { Clock, ScheduledAction } from '../block/clock.ts';

/** One sleeper, who can be woken. */
export class ScrubSleep {
  readonly #clock: Clock;
  #timer: ScheduledAction | undefined;
  #end: (() => void) | undefined;
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves after so many milliseconds, or when it is woken. */
  sleep(ms: number): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      this.#end = resolve;
      this.#timer = this.#clock.schedule(ms, () => this.wake());
    });
  }

  /** Nobody sleeps any more. */
  close(): void {
    this.#closed = true;
    this.wake();
  }

  wake(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const end = this.#end;
    this.#end = undefined;
    end?.();
  }
}
