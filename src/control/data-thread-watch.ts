import process from 'node:process';
import { stalledAfterMs } from '../device/messages.ts';

/**
 * R35: whether the data thread turns, and nothing else: its sign says nothing about disks. Whoever asks the API while it does
 * not is told so at once. It is never restarted: it may have I/O under way.
 */
export class DataThreadWatch {
  readonly #given: BigInt64Array;
  readonly #nowNs: () => bigint;

  /** `sign` is the memory of a `TurnSign`; `nowNs` its clock. */
  constructor(sign: SharedArrayBuffer, nowNs: () => bigint = () => process.hrtime.bigint()) {
    this.#given = new BigInt64Array(sign);
    this.#nowNs = nowNs;
  }

  /** For how long the data thread has given no sign; undefined while it turns, as far as is known. */
  get stalledMs(): number | undefined {
    const silentMs = Number(this.#nowNs() - Atomics.load(this.#given, 0)) / 1e6;
    return silentMs >= stalledAfterMs ? silentMs : undefined;
  }
}
