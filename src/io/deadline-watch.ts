/**
 * One timer for all deadlines. Requests carry their deadline themselves; the watch only knows the nearest, so a request
 * costs one comparison, and a request that is answered in time costs nothing more. When the timer fires, `expire`
 * rejects what is due and says when it wants to be called again.
 */
export class DeadlineWatch {
  readonly #expire: (nowMs: number) => number;
  #nearestMs = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  /** `expire` gets the time and returns the nearest deadline that is left, Infinity for none. */
  constructor(expire: (nowMs: number) => number) {
    this.#expire = expire;
  }

  /** A deadline on the clock of `performance.now()`. */
  add(deadlineMs: number): void {
    if (deadlineMs >= this.#nearestMs) return;
    this.#arm(deadlineMs);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#nearestMs = Number.POSITIVE_INFINITY;
  }

  #arm(deadlineMs: number): void {
    clearTimeout(this.#timer);
    this.#nearestMs = deadlineMs;
    if (deadlineMs === Number.POSITIVE_INFINITY) return;
    // Rounded up: a timer that fires a fraction early would find nothing due and be armed again for nothing.
    this.#timer = setTimeout(this.#fire, Math.max(1, Math.ceil(deadlineMs - performance.now())));
  }

  readonly #fire = (): void => {
    this.#nearestMs = Number.POSITIVE_INFINITY;
    this.#arm(this.#expire(performance.now()));
  };
}
