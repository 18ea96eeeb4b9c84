/** What a gate stands before: a device, or whoever flushes it for several. */
export interface Flushable {
  flush(): Promise<void>;
}

/**
 * Flushes of one device, shared. A caller joins a device flush that is not yet submitted, never one already submitted
 * (R22), and nothing is flushed when nothing completed without FUA since the last good flush (R6).
 */
export class FlushGate {
  readonly #device: Flushable;
  #unstable = false;
  #running: Promise<void> | undefined;
  #queued: Promise<void> | undefined;
  #failures = 0;

  constructor(device: Flushable) {
    this.#device = device;
  }

  /** Device flushes that failed: each put writes in doubt that somebody may still believe in. */
  get failures(): number {
    return this.#failures;
  }

  /** A write without FUA was acknowledged by the device, or may have reached it in part. */
  wroteUnstable(): void {
    this.#unstable = true;
  }

  /** All writes that settled before the call are durable when it resolves. A failure is reported to all who waited (R7). */
  flush(): Promise<void> {
    if (this.#queued !== undefined) return this.#queued;
    if (this.#running === undefined) return this.#unstable ? this.#start() : Promise.resolve();
    if (!this.#unstable) return this.#running;
    this.#queued = this.#startAfter(this.#running);
    return this.#queued;
  }

  /** What settled while a flush ran that then failed may be gone: whoever waits behind it hears of it too (R7). */
  async #startAfter(running: Promise<void>): Promise<void> {
    try {
      await running;
    } finally {
      this.#queued = undefined;
    }
    await this.#start();
  }

  #start(): Promise<void> {
    this.#unstable = false;
    const flush = this.#flushDevice();
    this.#running = flush;
    return flush;
  }

  async #flushDevice(): Promise<void> {
    try {
      await this.#device.flush();
    } catch (error) {
      this.#failures += 1;
      throw error;
    } finally {
      // One flush runs at a time: a queued one starts only after this promise has settled.
      this.#running = undefined;
    }
  }
}
