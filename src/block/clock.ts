/** Time, by interface: no room above `io/` reads a clock or sets a timer of its own. */
export interface Clock {
  /** Milliseconds since some fixed moment; never goes backwards. */
  nowMs(): number;
  /** Milliseconds since 1970-01-01 UTC, for people and records; may jump. */
  unixMs(): number;
  /** Calls `action` once, not before `delayMs` have passed. */
  schedule(delayMs: number, action: () => void): ScheduledAction;
}

export interface ScheduledAction {
  cancel(): void;
}

/** Chance, by interface, so that a seed repeats a run. */
export interface Random {
  /** A whole number, 0 to 2^32 - 1. */
  u32(): number;
  /** Fills `target` with chance bytes. */
  fill(target: Uint8Array): void;
}

/** Resolves after `delayMs` of the given clock. */
export function delay(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    clock.schedule(delayMs, resolve);
  });
}
