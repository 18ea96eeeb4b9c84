import type { DataPlaneMessage, WorkerMessage } from '../device/messages.ts';

/** How often the data thread is pinged: two wake-ups of each thread in 10 s, which an idle device can afford. */
export const pingIntervalMs = 10_000;
/** A ping that is not answered by the next one: the thread does not turn. */
export const stalledAfterMs: number = pingIntervalMs;

export interface DataThreadWatchParts {
  readonly post: (message: WorkerMessage) => void;
  readonly nowMs: () => number;
  /** Calls `action` every `intervalMs`; the handle must not keep the thread. */
  readonly every: (intervalMs: number, action: () => void) => void;
  /** Calls `action` once all messages that have come are received. */
  readonly afterMessages: (action: () => void) => void;
}

/**
 * R35: whether the data thread turns, and nothing else: an answer says nothing about disks. Whoever asks the API while it
 * does not is told so at once. When it turns again it is told for how long it did not, and keeps that in the event log. It is
 * never restarted: it may have I/O under way.
 */
export class DataThreadWatch {
  readonly #parts: DataThreadWatchParts;
  /** When the ping was sent that has no answer. */
  #pingedMs: number | undefined;
  #stalled = false;

  constructor(parts: DataThreadWatchParts) {
    this.#parts = parts;
    parts.every(pingIntervalMs, () => this.#tick());
  }

  /** For how long the data thread has not turned; undefined while it does, as far as is known. */
  get stalledMs(): number | undefined {
    return this.#stalled ? this.#parts.nowMs() - this.#pingedMs! : undefined;
  }

  receive(message: DataPlaneMessage): void {
    if (message.kind !== 'pong' || this.#pingedMs === undefined) return;
    const forMs = this.#parts.nowMs() - this.#pingedMs;
    this.#pingedMs = undefined;
    if (this.#stalled) this.#parts.post({ kind: 'stalled', forMs: Math.round(forMs) });
    this.#stalled = false;
  }

  #tick(): void {
    if (this.#pingedMs === undefined) {
      this.#pingedMs = this.#parts.nowMs();
      this.#parts.post({ kind: 'ping' });
      return;
    }
    // This thread itself may not have turned: what has come is looked at first.
    this.#parts.afterMessages(() => {
      if (this.#pingedMs === undefined) return;
      this.#stalled = this.#parts.nowMs() - this.#pingedMs >= stalledAfterMs;
    });
  }
}
