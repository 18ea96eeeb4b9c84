import type { LatencyStatus } from '../../device/messages.ts';
import type { Labels, Sample } from './exposition.ts';

/** 32 µs to 34 s, doubling: what disks take, and 22 lines a kind. All are ends of buckets of ours, so nothing is guessed. */
const firstDoubling = 5;
const lastDoubling = 25;
const ends: readonly number[] = Array.from(
  { length: lastDoubling - firstDoubling + 1 },
  (_, index) => 2 ** (firstDoubling + index) / 1e6,
);

/** A histogram as Prometheus has it: each bucket counts all that is not longer. */
export function latencySamples(
  labels: Labels,
  { buckets, count, sumSeconds }: Pick<LatencyStatus, 'buckets' | 'count' | 'sumSeconds'>,
): readonly Sample[] {
  const upto = (end: number): number =>
    buckets.reduce(
      (sum, bucket) => (bucket.uptoSeconds !== null && bucket.uptoSeconds <= end ? sum + bucket.count : sum),
      0,
    );
  return [
    ...ends.map((end) => ({
      labels: { ...labels, le: decimal(end) },
      value: upto(end),
      suffix: '_bucket' as const,
    })),
    { labels: { ...labels, le: '+Inf' }, value: count, suffix: '_bucket' },
    { labels, value: sumSeconds, suffix: '_sum' },
    { labels, value: count, suffix: '_count' },
  ];
}

/** Without an exponent: label values are compared as text. */
function decimal(seconds: number): string {
  return seconds.toFixed(6).replace(/\.?0+$/, '');
}
