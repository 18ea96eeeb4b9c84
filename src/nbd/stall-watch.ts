/** Something that only the client can do, as it stands now. */
export interface ClientWait {
  readonly waiting: boolean;
  /** Another number whenever the client has done it. */
  readonly progress: number;
  /** How much it is at most: a slow line has the time that these bytes take. */
  readonly bytes: number;
}

/**
 * How long a client has left one thing undone. It is looked at now and then instead of timed: a timer for each request would
 * cost more than the request. Bytes that trickle in are no progress, only the whole is.
 */
export class StallWatch {
  #sinceMs: number;
  #progress = -1;

  constructor(nowMs: number) {
    this.#sinceMs = nowMs;
  }

  /** True when the same thing has been waited for during `limitMs`, as far as was seen. */
  expired(nowMs: number, wait: ClientWait, limitMs: number): boolean {
    if (!wait.waiting || wait.progress !== this.#progress) {
      this.#progress = wait.progress;
      this.#sinceMs = nowMs;
    }
    return nowMs - this.#sinceMs >= limitMs;
  }
}
