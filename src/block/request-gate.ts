import { assert } from './assert.ts';

/**
 * Counts requests in flight exactly (I7) and knows when a closing device has none left (I6).
 * Every `enter` is paired with one `leave`.
 */
export class RequestGate {
  #inFlight = 0;
  #closed = false;
  #drained: Promise<void> | undefined;
  #resolveDrained: (() => void) | undefined;

  get inFlight(): number {
    return this.#inFlight;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** False once the gate is closed: the request must be rejected, and must not call `leave`. */
  enter(): boolean {
    if (this.#closed) return false;
    this.#inFlight += 1;
    return true;
  }

  leave(): void {
    assert(this.#inFlight > 0, 'RequestGate: left more often than entered');
    this.#inFlight -= 1;
    if (this.#inFlight === 0) this.#resolveDrained?.();
  }

  /** Stops admission; resolves when nothing is in flight. Idempotent. */
  close(): Promise<void> {
    this.#closed = true;
    this.#drained ??=
      this.#inFlight === 0
        ? Promise.resolve()
        : new Promise((resolve) => {
            this.#resolveDrained = resolve;
          });
    return this.#drained;
  }
}
