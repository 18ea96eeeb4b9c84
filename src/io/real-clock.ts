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
    // setTimeout rounds down to whole milliseconds; the contract is "not before".
    const timer = setTimeout(action, Math.min(Math.ceil(delayMs), timerDelayMsMax));
    return {
      cancel: (): void => clearTimeout(timer),
    };
  }
}
