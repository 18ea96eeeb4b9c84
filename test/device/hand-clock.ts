import type { Clock } from '../../src/block/clock.ts';

/** Time passes when the test says so. */
export class HandClock implements Clock {
  #nowMs = 0;
  readonly #waiting: { atMs: number; action: () => void }[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  unixMs(): number {
    return this.#nowMs;
  }

  schedule(delayMs: number, action: () => void): { cancel(): void } {
    const entry = { atMs: this.#nowMs + delayMs, action };
    this.#waiting.push(entry);
    return {
      cancel: () => {
        const at = this.#waiting.indexOf(entry);
        if (at >= 0) this.#waiting.splice(at, 1);
      },
    };
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  advance(ms: number): void {
    this.#nowMs += ms;
    for (const entry of this.#waiting.filter((one) => one.atMs <= this.#nowMs)) {
      this.#waiting.splice(this.#waiting.indexOf(entry), 1);
      entry.action();
    }
  }
}
