import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  LatencyHistogram,
  latencyCount,
  latencyLongestSeconds,
  latencyQuantileSeconds,
  latencySince,
} from '../../src/block/latency-histogram.ts';

const durationsMs = fc.array(
  fc.oneof(fc.double({ min: 0, max: 200_000, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true })),
  { minLength: 1, maxLength: 200 },
);

function histogramOf(durations: readonly number[]): LatencyHistogram {
  const histogram = new LatencyHistogram();
  for (const duration of durations) histogram.record(duration);
  return histogram;
}

test('every duration is counted once, in the bucket whose end is the next at or behind it and not a quarter beyond', () => {
  fc.assert(
    fc.property(durationsMs, (durations) => {
      const histogram = histogramOf(durations);
      const buckets = histogram.buckets();
      assert.equal(latencyCount(buckets), durations.length);
      assert.equal(histogram.longestSeconds, Math.max(...durations) / 1000);
      for (const duration of durations) {
        const [bucket, ...more] = histogramOf([duration]).buckets();
        assert.deepEqual([bucket?.count, more.length], [1, 0]);
        const end = bucket!.uptoSeconds;
        if (end === null) assert.ok(duration / 1000 > latencyLongestSeconds);
        else {
          assert.ok(duration / 1000 <= end + 1e-12, `${duration} ms is within ${end} s`);
          assert.ok(
            end <= Math.max(8e-6, (duration / 1000) * 1.25 + 2e-6),
            `${end} s is near ${duration} ms`,
          );
        }
      }
    }),
  );
});

test('the end of a bucket belongs to it', () => {
  const ends: readonly (readonly [number, number | null])[] = [
    [0, 8e-6],
    [0.008, 8e-6],
    [0.0081, 10e-6],
    [0.01, 10e-6],
    [1.024, 1.024e-3],
    [1.0241, 1.28e-3],
    [latencyLongestSeconds * 1000, latencyLongestSeconds],
    [latencyLongestSeconds * 1000 + 1, null],
  ];
  for (const [durationMs, end] of ends) {
    assert.deepEqual(histogramOf([durationMs]).buckets(), [{ uptoSeconds: end, count: 1 }]);
  }
});

test('a quantile is the one of the sorted list, or the end of its bucket', () => {
  fc.assert(
    fc.property(durationsMs, fc.double({ min: 0.01, max: 1, noNaN: true }), (durations, share) => {
      const sorted = durations.toSorted((a, b) => a - b);
      const truth = sorted[Math.max(0, Math.ceil(durations.length * share) - 1)]! / 1000;
      const quantile = latencyQuantileSeconds(histogramOf(durations).buckets(), share)!;
      if (truth > latencyLongestSeconds) assert.equal(quantile, latencyLongestSeconds);
      else assert.ok(quantile >= truth - 1e-12 && quantile <= Math.max(8e-6, truth * 1.25 + 2e-6));
    }),
  );
  assert.equal(latencyQuantileSeconds([], 0.5), undefined);
});

test('what came between two looks is what was recorded between them, also where the histogram began anew', () => {
  fc.assert(
    fc.property(durationsMs, durationsMs, (first, second) => {
      const histogram = histogramOf(first);
      const before = histogram.buckets();
      for (const duration of second) histogram.record(duration);
      assert.deepEqual(latencySince(before, histogram.buckets()), histogramOf(second).buckets());
    }),
  );
  const fewer = histogramOf([5, 5]).buckets();
  assert.deepEqual(latencySince(histogramOf([5, 5, 5]).buckets(), fewer), fewer);
});
