import { baselineReadsMin, slowFactor } from './scrub-limits.ts';

/** Four buckets for each doubling, from 1/16 ms on: a bucket is 19 % wide. */
const bucketsPerDoubling = 4;
const firstBucketMs = 1 / 16;
const bucketCount = 96;
/** Then all counts are halved: what the disk did long ago fades, and nothing grows. */
const readsMax = 4096;

/** How long reads of one size take on one disk, learnt from those that came while nobody else used it. */
export class ReadBaseline {
  readonly #buckets = new Uint32Array(bucketCount);
  #reads = 0;

  get reads(): number {
    return this.#reads;
  }

  add(ms: number): void {
    const bucket = Math.floor(Math.log2(Math.max(ms, firstBucketMs) / firstBucketMs) * bucketsPerDoubling);
    this.#buckets[Math.min(bucketCount - 1, bucket)]! += 1;
    this.#reads += 1;
    if (this.#reads < readsMax) return;
    this.#reads = 0;
    for (let index = 0; index < bucketCount; index += 1) {
      this.#buckets[index]! >>>= 1;
      this.#reads += this.#buckets[index]!;
    }
  }

  /** Half of the reads took no longer; undefined before there was one. The upper end of its bucket. */
  get medianMs(): number | undefined {
    if (this.#reads === 0) return undefined;
    let left = this.#reads / 2;
    for (let index = 0; index < bucketCount; index += 1) {
      left -= this.#buckets[index]!;
      if (left <= 0) return firstBucketMs * 2 ** ((index + 1) / bucketsPerDoubling);
    }
    return undefined;
  }

  /** From how long on a read is slow; undefined while too few were seen. */
  slowMs(leastMs: number): number | undefined {
    const median = this.medianMs;
    if (median === undefined || this.#reads < baselineReadsMin) return undefined;
    return Math.max(leastMs, slowFactor * median);
  }
}
