import type { Clock, ScheduledAction } from '../../block/clock.ts';
import type { EventKind } from '../event-kinds.ts';

/** Events of one kind in one window; the rest are counted, and told when the window ends (I11). */
export const eventsPerWindowMax = 20;
/**
 * The first window of a kind, and the longest. While events are suppressed each window is twice as long as the one before: a
 * client that misbehaves for days must not wash what happened to the disk out of a log of bounded size.
 */
export const eventWindowMinMs = 10_000;
export const eventWindowMaxMs = 600_000;

interface Window {
  readonly lengthMs: number;
  readonly endMs: number;
  passed: number;
  suppressed: number;
  /** Runs only while something is suppressed. */
  end: ScheduledAction | undefined;
}

/** Decides which events are worth a line, by kind: exactly what is not passed is counted and told. */
export class EventLimits {
  readonly #clock: Clock;
  readonly #tell: (kind: EventKind, count: number) => void;
  readonly #windows = new Map<EventKind, Window>();
  #suppressedInAll = 0;

  /** `tell` is called at the end of each window in which something was suppressed. */
  constructor(clock: Clock, tell: (kind: EventKind, count: number) => void) {
    this.#clock = clock;
    this.#tell = tell;
  }

  /** Events suppressed since the start, told or not. */
  get suppressed(): number {
    return this.#suppressedInAll;
  }

  /** Whether this one is to be stored. */
  admit(kind: EventKind): boolean {
    const window = this.#windowOf(kind);
    if (window.passed < eventsPerWindowMax) {
      window.passed += 1;
      return true;
    }
    window.suppressed += 1;
    this.#suppressedInAll += 1;
    window.end ??= this.#clock.schedule(window.endMs - this.#clock.nowMs(), () =>
      this.#endStorm(kind, window),
    );
    return false;
  }

  /** Tells what is not told yet. */
  close(): void {
    for (const [kind, window] of this.#windows) {
      window.end?.cancel();
      if (window.suppressed > 0) this.#tell(kind, window.suppressed);
    }
    this.#windows.clear();
  }

  #windowOf(kind: EventKind): Window {
    const nowMs = this.#clock.nowMs();
    const window = this.#windows.get(kind);
    // One with a timer ends by it, so that nothing is told twice.
    if (window !== undefined && (nowMs < window.endMs || window.end !== undefined)) return window;
    return this.#begin(kind, eventWindowMinMs);
  }

  #begin(kind: EventKind, lengthMs: number): Window {
    const endMs = this.#clock.nowMs() + lengthMs;
    const window: Window = { lengthMs, endMs, passed: 0, suppressed: 0, end: undefined };
    this.#windows.set(kind, window);
    return window;
  }

  #endStorm(kind: EventKind, window: Window): void {
    this.#begin(kind, Math.min(eventWindowMaxMs, 2 * window.lengthMs));
    this.#tell(kind, window.suppressed);
  }
}
