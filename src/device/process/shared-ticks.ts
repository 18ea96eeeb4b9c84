import type { Clock, ScheduledAction } from '../../block/clock.ts';

/** Work that is done from time to time is done on ticks of this. */
export const tickMs = 1_000;

/** A shorter delay is kept to the millisecond; of a longer one half a tick is an eighth at most. */
export const sharedDelayMsMin: number = 4 * tickMs;

/** Delays from `longDelayMsMin` on end on ticks of this: half of it is a quarter of them at most. */
export const longTickMs = 5_000;
export const longDelayMsMin: number = 2 * longTickMs;

/**
 * A clock for what a process does from time to time: delays of seconds end on the nearest tick, and everything that ends on one
 * tick is done in one wake-up. Each looking after its own time costs a sleeping machine several wake-ups where one would do.
 * Not for deadlines: half a tick too early is too early.
 */
export class SharedTicks implements Clock {
  readonly #clock: Clock;
  /** By its time in milliseconds: what ends on each tick, in the order in which it was asked for. */
  readonly #ticks = new Map<number, { readonly actions: Set<() => void>; readonly timer: ScheduledAction }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  nowMs(): number {
    return this.#clock.nowMs();
  }

  unixMs(): number {
    return this.#clock.unixMs();
  }

  schedule(delayMs: number, action: () => void): ScheduledAction {
    if (delayMs < sharedDelayMsMin) return this.#clock.schedule(delayMs, action);
    const nowMs = this.#clock.nowMs();
    const lengthMs = delayMs < longDelayMsMin ? tickMs : longTickMs;
    const tick = Math.round((nowMs + delayMs) / lengthMs) * lengthMs;
    const actions = this.#ticks.get(tick)?.actions ?? this.#newTick(tick, tick - nowMs);
    // A function of its own, so that one given twice is two.
    const entry = (): void => action();
    actions.add(entry);
    return {
      cancel: () => {
        actions.delete(entry);
        if (actions.size === 0) this.#drop(tick, actions);
      },
    };
  }

  #newTick(tick: number, delayMs: number): Set<() => void> {
    const actions = new Set<() => void>();
    const timer = this.#clock.schedule(delayMs, () => {
      this.#ticks.delete(tick);
      for (const action of actions) action();
    });
    this.#ticks.set(tick, { actions, timer });
    return actions;
  }

  /** Nothing is left to do on it. It may be over, and even another one in its place. */
  #drop(tick: number, actions: Set<() => void>): void {
    const ending = this.#ticks.get(tick);
    if (ending?.actions !== actions) return;
    ending.timer.cancel();
    this.#ticks.delete(tick);
  }
}
