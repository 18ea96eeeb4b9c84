const stepsPerDoubling = 16;
const bucketCount = 16 * 30;

export interface Percentiles {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

/** Latencies from 1 µs to 18 minutes in buckets that are 4.4 % wide, so that memory does not grow with the run. */
export class LatencyHistogram {
  readonly #counts = new Uint32Array(bucketCount);
  #count = 0;
  #maxMs = 0;

  record(milliseconds: number): void {
    const microseconds = Math.max(1, milliseconds * 1000);
    const bucket = Math.min(bucketCount - 1, Math.floor(Math.log2(microseconds) * stepsPerDoubling));
    this.#counts[bucket] = this.#counts[bucket]! + 1;
    this.#count += 1;
    this.#maxMs = Math.max(this.#maxMs, milliseconds);
  }

  /** The upper end of the bucket in which the share `portion` of all latencies is reached; zeros without any. */
  percentiles(): Percentiles {
    return {
      count: this.#count,
      p50Ms: this.#at(0.5),
      p99Ms: this.#at(0.99),
      p999Ms: this.#at(0.999),
      maxMs: rounded(this.#maxMs),
    };
  }

  clear(): void {
    this.#counts.fill(0);
    this.#count = 0;
    this.#maxMs = 0;
  }

  #at(portion: number): number {
    const wanted = Math.ceil(this.#count * portion);
    let seen = 0;
    for (let bucket = 0; bucket < bucketCount && wanted > 0; bucket += 1) {
      seen += this.#counts[bucket]!;
      if (seen >= wanted) {
        return rounded(Math.min(this.#maxMs, 2 ** ((bucket + 1) / stepsPerDoubling) / 1000));
      }
    }
    return 0;
  }
}

function rounded(milliseconds: number): number {
  return Number(milliseconds.toPrecision(4));
}
