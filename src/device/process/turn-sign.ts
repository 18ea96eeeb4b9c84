import process from 'node:process';
import type { Clock, ScheduledAction } from '../../block/clock.ts';
import { stalledAfterMs, turnSignIntervalMs } from '../messages.ts';

export interface TurnSignParts {
  /** On which the data thread wakes in any case: a sign costs no wake-up of its own. */
  readonly ticks: Clock;
  /** Nanoseconds of a clock that all threads of the process share. */
  readonly nowNs?: () => bigint;
  /** R35: this thread did not turn for at least so long, and does again. */
  readonly onStall: (forMs: number) => void;
}

/**
 * R35: the sign that this thread turns, in memory that others read: when it last did. It says nothing about disks. Nobody has
 * to be woken for it, as a ping and its answer wake two threads of a machine that sleeps.
 */
export class TurnSign {
  /** When the last sign was given: nanoseconds, one signed 64-bit number. */
  readonly memory: SharedArrayBuffer = new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT);
  readonly #given = new BigInt64Array(this.memory);
  readonly #parts: TurnSignParts;
  readonly #nowNs: () => bigint;
  #next: ScheduledAction;

  constructor(parts: TurnSignParts) {
    this.#parts = parts;
    this.#nowNs = parts.nowNs ?? (() => process.hrtime.bigint());
    Atomics.store(this.#given, 0, this.#nowNs());
    this.#next = this.#schedule();
  }

  close(): void {
    this.#next.cancel();
  }

  #schedule(): ScheduledAction {
    return this.#parts.ticks.schedule(turnSignIntervalMs, () => {
      this.#next = this.#schedule();
      const nowNs = this.#nowNs();
      const silentMs = Number(nowNs - Atomics.exchange(this.#given, 0, nowNs)) / 1e6;
      if (silentMs >= stalledAfterMs) this.#parts.onStall(Math.round(silentMs - turnSignIntervalMs));
    });
  }
}
