import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { LatencyHistogram } from './latency-histogram.ts';
import { soakChart } from './soak-chart.ts';
import { planSessions } from './soak-plan.ts';
import type { SampleRecord, SoakRecord } from './soak-records.ts';

describe('the histogram of latencies', () => {
  test('gives percentiles within the 4.4 % of a bucket, and never more than the largest', () => {
    const random = new SeededRandom('latencies');
    const histogram = new LatencyHistogram();
    const all = Array.from({ length: 20_000 }, () => 10 ** random.between(-2, 4));
    for (const milliseconds of all) histogram.record(milliseconds);
    const sorted = all.toSorted((left, right) => left - right);
    const { count, p50Ms, p99Ms, p999Ms, maxMs } = histogram.percentiles();
    assert.equal(count, all.length);
    for (const [portion, seen] of [
      [0.5, p50Ms],
      [0.99, p99Ms],
      [0.999, p999Ms],
    ] as const) {
      const exact = sorted[Math.ceil(all.length * portion) - 1]!;
      assert.ok(seen >= exact * 0.999 && seen <= exact * 1.046, `${portion}: ${seen}, exactly ${exact}`);
    }
    assert.ok(p999Ms <= maxMs);
    histogram.clear();
    assert.deepEqual(histogram.percentiles(), { count: 0, p50Ms: 0, p99Ms: 0, p999Ms: 0, maxMs: 0 });
  });

  test('takes what is below a microsecond and above its last bucket', () => {
    const histogram = new LatencyHistogram();
    histogram.record(0);
    histogram.record(1e10);
    assert.deepEqual([histogram.percentiles().count, histogram.percentiles().p50Ms], [2, 0.001044]);
  });
});

describe('the plan of a soak', () => {
  test('adds up to the time asked for, has every trouble and both ends, and begins with a kill and a destroyed replica', () => {
    for (const seconds of [6, 30, 299, 300, 1800, 3600, 36_000]) {
      for (let seed = 0; seed < 20; seed += 1) {
        const plan = planSessions(seconds, new SeededRandom(seed));
        const sum = plan.reduce((total, session) => total + session.seconds, 0);
        assert.ok(Math.abs(sum - seconds) < 0.01, `${sum} of ${seconds}`);
        assert.deepEqual([plan[0]!.end, plan[0]!.destroysReplica], ['kill', true]);
        assert.equal(new Set(plan.map(({ trouble }) => trouble)).size, 2);
        assert.equal(new Set(plan.map(({ end }) => end)).size, 2, `seed ${seed}, ${seconds} s`);
        assert.ok(plan.length <= 4 + seconds / 30 && plan.every((session) => session.seconds > 1));
      }
    }
  });
});

describe('the chart of a soak', () => {
  const histogram = new LatencyHistogram();
  histogram.record(2);
  const records: SoakRecord[] = Array.from({ length: 720 }, (_, index): SampleRecord => {
    const session = Math.floor(index / 100);
    return {
      kind: 'sample',
      seconds: 5 * index,
      session,
      sessionSeconds: 5 * (index % 100),
      residentBytes: 100 * 1024 * 1024,
      openFiles: index === 333 ? 99 : 35,
      threads: 11,
      requestsInFlight: 3,
      reads: histogram.percentiles(),
      writes: histogram.percentiles(),
      remappedGranules: index,
      slotsUsed: index,
      slotsFree: 9,
      slotsRetired: 0,
      unreadableSectors: 2,
      goneSectors: 0,
    };
  });
  const chart = soakChart([
    ...records,
    { kind: 'event', seconds: 1800, session: 3, event: 'kill', detail: '' },
  ]);

  test('is below 100 KB, names its axes and units, and marks kills in each panel', () => {
    assert.ok(Buffer.byteLength(chart) < 100_000, `${Buffer.byteLength(chart)} bytes`);
    for (const title of ['resident memory (MiB)', 'reads (ms, logarithmic)', 'minutes</text>', 'p99.9']) {
      assert.ok(chart.includes(title), title);
    }
    assert.equal(chart.match(/stroke="#d03030" stroke-width="0\.7"/g)?.length, 5);
  });

  test('draws a line a session and series inside its panel, and loses no peak', () => {
    const lines = [...chart.matchAll(/<polyline [^>]*points="([^"]+)"/g)].map(([, points]) => points!);
    assert.equal(lines.length, 8 * (1 + 3 + 3 + 3 + 2));
    const points = lines.flatMap((line) => line.split(' ').map((point) => point.split(',').map(Number)));
    assert.ok(points.every(([x, y]) => x! >= 60 && x! <= 830 && y! >= 44 && y! <= 744));
    // 99 of an axis that ends at 100: a hundredth below its top.
    assert.ok(
      points.some(([, y]) => Math.abs(y! - (44 + 140 + 22 + 0.01 * 102)) < 0.2),
      'the peak',
    );
  });

  test('of nothing is an empty picture, not an error', () => {
    assert.match(soakChart([]), /^<svg [\s\S]*<\/svg>\n$/);
  });
});
