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
  readonly #deviceShares: boolean;
  #unstable = false;
  /** The flush started last, and how many were. */
  #running: Promise<void> | undefined;
  #started = 0;
  #queued: Promise<void> | undefined;
  #failures = 0;

  /**
   * `deviceShares`: the device itself lets callers join a flush that it has not yet submitted. A gate that waited for the
   * running one would come too late for the next, which that device submits at once for others: measured 165 flushes for
   * 4096 concurrent remaps instead of 112 (M19).
   */
  constructor(device: Flushable, options: { readonly deviceShares: boolean } = { deviceShares: false }) {
    this.#device = device;
    this.#deviceShares = options.deviceShares;
  }

  /** Device flushes that failed: each put writes in doubt that somebody may still believe in. */
  get failures(): number {
    return this.#failures;
  }

  /** A write without FUA was acknowledged by the device, or may have reached it in part. */
  wroteUnstable(): void {
    this.#unstable = true;
  }

  /** A flush is with the device now. */
  get running(): boolean {
    return this.#running !== undefined;
  }

  /** A flush is due: something may be unstable. */
  get due(): boolean {
    return this.#unstable || this.#running !== undefined;
  }

  /** The device was opened anew: what had not been flushed is in doubt, and no later flush may vouch for it (R7). */
  poison(): void {
    if (this.#unstable) this.#failures += 1;
  }

  /** All writes that settled before the call are durable when it resolves. A failure is reported to all who waited (R7). */
  flush(): Promise<void> {
    if (this.#queued !== undefined) return this.#queued;
    if (!this.#unstable) return this.#running ?? Promise.resolve();
    if (this.#running === undefined || this.#deviceShares) return this.#start();
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
    this.#started += 1;
    const flush = this.#flushDevice(this.#started);
    this.#running = flush;
    return flush;
  }

  async #flushDevice(number: number): Promise<void> {
    try {
      await this.#device.flush();
    } catch (error) {
      this.#failures += 1;
      // R6: since the last good flush. The next one vouches for no write from before (R7), and what the disk still has in its
      // cache is no longer lost with the power.
      this.#unstable = true;
      throw error;
    } finally {
      if (number === this.#started) this.#running = undefined;
    }
  }
}
