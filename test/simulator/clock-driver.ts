import type { VirtualClock } from '../../src/simulator/virtual-clock.ts';

/** Lets virtual time run by itself while a test awaits what it would await in real time. Stop it to end. */
export class ClockDriver {
  #stopped = false;
  readonly #turning: Promise<void>;

  constructor(clock: VirtualClock) {
    this.#turning = this.#turn(clock);
  }

  async #turn(clock: VirtualClock): Promise<void> {
    while (!this.#stopped) await clock.runUntilIdle();
  }

  stop(): Promise<void> {
    this.#stopped = true;
    return this.#turning;
  }
}
