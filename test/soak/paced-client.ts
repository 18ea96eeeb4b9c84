import { setTimeout as sleep } from 'node:timers/promises';
import { Errno } from '../../src/block/errno.ts';
import { NbdRequestError } from '../../src/nbd/client.ts';
import type { SeededRandom } from '../../src/simulator/seeded-random.ts';
import type { DiskClient } from '../end-to-end/dying-disk.ts';
import type { LatencyHistogram } from './latency-histogram.ts';

const flushTriesMax = 20;
const retryMs = 100;

/** What a load may meet, and what it has seen. */
export interface LoadRules {
  /** True while main may be away: a flush that it fails is then told, once a connection, by the next flush or FUA write (R7). */
  flushesMayFail: boolean;
  failedFlushesTold: number;
}

/**
 * A client that rests before each request, as a load of hours must, and notes how long each took. Told of a failed flush, it
 * writes and flushes again, as R7 wants it; anything else that fails is the caller's.
 */
export class PacedClient implements DiskClient {
  readonly #client: DiskClient;
  readonly #random: SeededRandom;
  readonly #restMsMax: number;
  readonly #reads: LatencyHistogram;
  readonly #writes: LatencyHistogram;
  readonly #rules: LoadRules;

  constructor(
    client: DiskClient,
    random: SeededRandom,
    restMsMax: number,
    latencies: { readonly reads: LatencyHistogram; readonly writes: LatencyHistogram },
    rules: LoadRules,
  ) {
    this.#client = client;
    this.#random = random;
    this.#restMsMax = restMsMax;
    this.#reads = latencies.reads;
    this.#writes = latencies.writes;
    this.#rules = rules;
  }

  async read(target: Uint8Array, offset: number): Promise<void> {
    await this.#rest();
    const startMs = performance.now();
    await this.#client.read(target, offset);
    this.#reads.record(performance.now() - startMs);
  }

  async write(source: Uint8Array, offset: number, options?: { readonly fua?: boolean }): Promise<void> {
    await this.#rest();
    const startMs = performance.now();
    if (options?.fua === true) await this.#durably(() => this.#client.write(source, offset, options));
    else await this.#client.write(source, offset, options);
    this.#writes.record(performance.now() - startMs);
  }

  flush(): Promise<void> {
    return this.#durably(() => this.#client.flush());
  }

  async #durably(send: () => Promise<void>): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      try {
        await send();
        return;
      } catch (error) {
        if (!this.#rules.flushesMayFail || tries === flushTriesMax || !isEio(error)) throw error;
        this.#rules.failedFlushesTold += 1;
        await sleep(retryMs);
      }
    }
  }

  async #rest(): Promise<void> {
    await sleep(this.#random.below(this.#restMsMax));
  }
}

function isEio(error: unknown): boolean {
  return error instanceof NbdRequestError && error.errno === Errno.EIO;
}
