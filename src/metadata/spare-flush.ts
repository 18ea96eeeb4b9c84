import type { BlockDevice } from '../block/block-device.ts';
import { deviceError } from '../block/device-error.ts';

interface Waiting {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The one way to flush the spare. At most one flush is in the device; whoever comes meanwhile shares the next, which is not
 * yet submitted (R22: never one already submitted). A failed flush fails everybody who waits, also for the next one: what
 * they wrote before the failure may be gone although the next flush would succeed (R7: never retried into success).
 */
export class SpareFlush {
  readonly #spare: BlockDevice;
  #submitted = 0;
  #lastGood = 0;
  #epoch = 0;
  #running = false;
  #next: Waiting | undefined;
  #onFailure: () => void = () => {};

  constructor(spare: BlockDevice) {
    this.#spare = spare;
  }

  /** Flushes sent to the device. A write that settles now is covered by a flush with a higher number. */
  get submitted(): number {
    return this.#submitted;
  }

  /** Number of the last flush that succeeded. */
  get lastGood(): number {
    return this.#lastGood;
  }

  /** Flushes that failed: what was unflushed then is in doubt. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Called synchronously when a flush has failed, before any waiter knows. */
  set onFailure(action: () => void) {
    this.#onFailure = action;
  }

  /** The spare was opened anew: what was unflushed is in doubt, and no flush of the new opening may vouch for it (R7, R32). */
  poison(): void {
    this.#epoch += 1;
    const next = this.#next;
    this.#next = undefined;
    this.#onFailure();
    next?.reject(deviceError(this.#spare.name, 'path', 0, this.#spare.geometry.sizeBytes));
  }

  /** Everything that settled before the call is durable when it resolves. Rejects with the device's error. */
  flush(): Promise<void> {
    if (!this.#running) return this.#submit();
    this.#next ??= waiting();
    return this.#next.promise;
  }

  async #submit(): Promise<void> {
    this.#running = true;
    this.#submitted += 1;
    const number = this.#submitted;
    try {
      await this.#spare.flush();
    } catch (error) {
      this.#epoch += 1;
      this.#running = false;
      const next = this.#next;
      this.#next = undefined;
      this.#onFailure();
      next?.reject(error);
      throw error;
    }
    this.#lastGood = number;
    this.#running = false;
    const next = this.#next;
    this.#next = undefined;
    if (next !== undefined) this.#submit().then(next.resolve, next.reject);
  }
}

function waiting(): Waiting {
  let resolve: () => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}
