import type { Clock, ScheduledAction } from '../block/clock.ts';

/** Above this `setTimeout` fires at once. */
const timerDelayMsMax = 2 ** 31 - 1;

/** The machine's time. */
export class RealClock implements Clock {
  nowMs(): number {
    return performance.now();
  }

  unixMs(): number {
    return Date.now();
  }

  schedule(delayMs: number, action: () => void): ScheduledAction {
    const dueMs = performance.now() + delayMs;
    const arm = (leftMs: number): NodeJS.Timeout => {
      return setTimeout(fire, Math.min(Math.ceil(leftMs), timerDelayMsMax));
    };
    // Timers count from the loop's own whole milliseconds and may come up to one early; the contract is "not before".
    const fire = (): void => {
      const leftMs = dueMs - performance.now();
      if (leftMs > 0) timer = arm(leftMs);
      else action();
    };
    let timer = arm(delayMs);
    return {
      cancel: (): void => clearTimeout(timer),
    };
  }
}
