/** Requests, and bytes, answered without returning to the event loop: about a millisecond of cached I/O. */
const requestsPerTurn = 256;
const bytesPerTurn = 4 * 1024 * 1024;

/**
 * An inline request is answered before its caller can await it, and promise callbacks run before timers: a loop of them
 * would keep every timer and socket waiting (R36). So only so many are answered in one turn of the event loop.
 */
export class InlineBudget {
  #requests: number = requestsPerTurn;
  #bytes: number = bytesPerTurn;
  #renewing: Promise<void> | undefined;

  /** False when this turn has had enough: await `renewed` and ask again. */
  spend(bytes: number): boolean {
    if (this.#requests <= 0 || this.#bytes <= 0) return false;
    this.#requests -= 1;
    this.#bytes -= bytes;
    void this.renewed();
    return true;
  }

  /** The next turn of the event loop, when the budget is full again. Never rejects. */
  renewed(): Promise<void> {
    this.#renewing ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#requests = requestsPerTurn;
        this.#bytes = bytesPerTurn;
        this.#renewing = undefined;
        resolve();
      });
    });
    return this.#renewing;
  }
}
