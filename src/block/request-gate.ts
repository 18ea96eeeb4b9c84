import { assert } from './assert.ts';

/**
 * Counts requests in flight exactly (I7), knows when a closing device has none left (I6), and can be shut for a while: what
 * comes then is held by its caller, who asks `reopened` when to try again (R30). Every `enter` is paired with one `leave`.
 *
 *     open ⇄ suspended
 *       └──────┴──► closed
 */
export class RequestGate {
  #inFlight = 0;
  #state: 'open' | 'suspended' | 'closed' = 'open';
  #whenIdle: (() => void)[] = [];
  #held: ((reopened: boolean) => void)[] = [];

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Requests that wait for `resume` or `close`. */
  get held(): number {
    return this.#held.length;
  }

  get suspended(): boolean {
    return this.#state === 'suspended';
  }

  get closed(): boolean {
    return this.#state === 'closed';
  }

  /** False while the gate is shut: the request must be held or rejected, and must not call `leave`. */
  enter(): boolean {
    if (this.#state !== 'open') return false;
    this.#inFlight += 1;
    return true;
  }

  leave(): void {
    assert(this.#inFlight > 0, 'RequestGate: left more often than entered');
    this.#inFlight -= 1;
    if (this.#inFlight > 0 || this.#whenIdle.length === 0) return;
    const waiting = this.#whenIdle;
    this.#whenIdle = [];
    for (const resolve of waiting) resolve();
  }

  /** Shuts the gate until `resume`. A closed gate stays closed. */
  suspend(): void {
    if (this.#state === 'open') this.#state = 'suspended';
  }

  /** Opens a suspended gate: what was held may try again, first come first. */
  resume(): void {
    if (this.#state !== 'suspended') return;
    this.#state = 'open';
    this.#letGo(true);
  }

  /** For a request that was not admitted: true when it may try again, false when the gate is closed for good. */
  reopened(): Promise<boolean> {
    if (this.#state !== 'suspended') return Promise.resolve(this.#state === 'open');
    return new Promise((resolve) => {
      this.#held.push(resolve);
    });
  }

  /** Resolves when nothing is in flight, at that moment. */
  idle(): Promise<void> {
    if (this.#inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenIdle.push(resolve);
    });
  }

  /** Stops admission for good; resolves when nothing is in flight. Idempotent. */
  close(): Promise<void> {
    this.#state = 'closed';
    this.#letGo(false);
    return this.idle();
  }

  #letGo(reopened: boolean): void {
    const held = this.#held;
    this.#held = [];
    for (const resolve of held) resolve(reopened);
  }
}
