/**
 * How long things took, in buckets whose width is at most a quarter of their place: fixed memory, one increment an entry, and
 * quantiles that are true within 19 %.
 *
 *     bucket 0   up to 8 µs
 *     then       four to each doubling: (8, 10], (10, 12], (12, 14], (14, 16], (16, 20], … µs
 *     the last   beyond 2^27 µs, which is 134 s
 */
const firstDoubling = 3;
const lastDoubling = 27;
const bucketsADoubling = 4;
const bucketCount: number = (lastDoubling - firstDoubling) * bucketsADoubling + 2;

/** Of the buckets that have an end. */
export const latencyLongestSeconds: number = 2 ** lastDoubling / 1e6;

/** How many took longer than the bucket before it, and up to `uptoSeconds`; null for the bucket that has no end. */
export interface LatencyBucket {
  readonly uptoSeconds: number | null;
  readonly count: number;
}

/** Buckets that are not empty, the shortest first. */
export type LatencyBuckets = readonly LatencyBucket[];

export class LatencyHistogram {
  readonly #counts: Float64Array = new Float64Array(bucketCount);
  #sumMs = 0;
  #longestMs = 0;

  record(durationMs: number): void {
    this.#counts[bucketOf(durationMs)]! += 1;
    this.#sumMs += durationMs;
    if (durationMs > this.#longestMs) this.#longestMs = durationMs;
  }

  get sumSeconds(): number {
    return this.#sumMs / 1000;
  }

  get longestSeconds(): number {
    return this.#longestMs / 1000;
  }

  buckets(): LatencyBuckets {
    const buckets: LatencyBucket[] = [];
    for (const [index, count] of this.#counts.entries()) {
      if (count > 0) buckets.push({ uptoSeconds: endOf(index), count });
    }
    return buckets;
  }
}

/** The end of a bucket belongs to it: a duration of exactly 8 µs is in the first. */
function bucketOf(durationMs: number): number {
  if (durationMs >= latencyLongestSeconds * 1000)
    return durationMs > latencyLongestSeconds * 1000 ? bucketCount - 1 : bucketCount - 2;
  const micros = Math.max(0, Math.ceil(durationMs * 1000) - 1);
  const doubling = 31 - Math.clz32(micros);
  if (doubling < firstDoubling) return 0;
  return 1 + (doubling - firstDoubling) * bucketsADoubling + ((micros >>> (doubling - 2)) & 3);
}

function endOf(index: number): number | null {
  if (index === 0) return 2 ** firstDoubling / 1e6;
  if (index === bucketCount - 1) return null;
  const doubling = firstDoubling + Math.floor((index - 1) / bucketsADoubling);
  const quarter = (index - 1) % bucketsADoubling;
  return (2 ** doubling * (1 + (quarter + 1) / bucketsADoubling)) / 1e6;
}

/** How many there are. */
export function latencyCount(buckets: LatencyBuckets): number {
  return buckets.reduce((sum, { count }) => sum + count, 0);
}

/**
 * What `share` of them (0 to 1) did not exceed: the end of its bucket, so never less than the truth, and at most a quarter more.
 * Undefined of none; the longest time that is told apart for what lies beyond.
 */
export function latencyQuantileSeconds(buckets: LatencyBuckets, share: number): number | undefined {
  const wanted = latencyCount(buckets) * share;
  let seen = 0;
  for (const { uptoSeconds, count } of buckets) {
    seen += count;
    if (seen >= wanted) return uptoSeconds ?? latencyLongestSeconds;
  }
  return undefined;
}

/** What came between two looks at one histogram; all of `now` where it began anew in between. */
export function latencySince(before: LatencyBuckets, now: LatencyBuckets): LatencyBuckets {
  const earlier = new Map(before.map(({ uptoSeconds, count }) => [uptoSeconds, count]));
  const later = new Map(now.map(({ uptoSeconds, count }) => [uptoSeconds, count]));
  if (before.some(({ uptoSeconds, count }) => (later.get(uptoSeconds) ?? 0) < count)) return now;
  return now
    .map(({ uptoSeconds, count }) => ({ uptoSeconds, count: count - (earlier.get(uptoSeconds) ?? 0) }))
    .filter(({ count }) => count > 0);
}
