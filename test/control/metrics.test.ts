import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { latencyCount } from '../../src/block/latency-histogram.ts';
import { controlApplication } from '../../src/control/application.ts';
import { deviceFamilies, metricNames } from '../../src/control/metrics/device-metrics.ts';
import { expositionText } from '../../src/control/metrics/exposition.ts';
import { latencySamples } from '../../src/control/metrics/latency-samples.ts';
import { metricsText } from '../../src/control/metrics/metrics-text.ts';
import { remapCounterMetrics } from '../../src/control/metrics/remap-metrics.ts';
import { scrubCounters } from '../../src/control/metrics/scrub-metrics.ts';
import { newCounters } from '../../src/remap/remap-counters.ts';
import { exampleStatus } from './example-status.ts';
import { parseExposition } from './exposition-reader.ts';

/** Any, those that are commands to a terminal too; `binary` of fast-check takes three seconds to begin. */
const letter = fc.integer({ min: 0, max: 0x2fff }).map((code) => String.fromCharCode(code));

test('every counter of the remap target has a metric, with a name and labels of its own', () => {
  assert.deepEqual(Object.keys(remapCounterMetrics).sort(), Object.keys(newCounters()).sort());
  const series = Object.values(remapCounterMetrics).map(({ name, labels }) => JSON.stringify([name, labels]));
  assert.equal(new Set(series).size, series.length);
});

test('every count of scrubs has a metric', () => {
  const counted = scrubCounters.map(([key]) => key);
  assert.deepEqual(counted.toSorted(), Object.keys(exampleStatus.scrub!.totals).sort());
});

test('names, types and units are by convention', () => {
  const status = { ...exampleStatus, remap: { ...exampleStatus.remap, counters: { ...newCounters() } } };
  const families = deviceFamilies([status]);
  assert.deepEqual(
    families.map(({ name }) => name),
    metricNames,
  );
  for (const { name, type, help, samples } of families) {
    assert.match(name, /^dm_remap_[a-z]+(_[a-z]+)*$/);
    assert.equal(name.endsWith('_total'), type === 'counter', name);
    assert.doesNotMatch(
      name,
      /_(ms|millis|milliseconds|kib|mib|kilobytes|percent|count|sum|bucket|info_.*)$/,
    );
    assert.match(help, /^[A-Z].*\.$/, name);
    assert.ok(samples.length > 0, name);
    const series = samples.map(({ labels, suffix }) => JSON.stringify([labels, suffix]));
    assert.equal(new Set(series).size, series.length, `${name}: no series twice`);
    for (const { labels, value } of samples) {
      assert.equal(labels['device'], 'disk', name);
      assert.ok(Number.isFinite(value), name);
    }
  }
});

test('figures are those of the status, none is invented and none is lost', () => {
  const counters = Object.fromEntries(Object.keys(newCounters()).map((name, at) => [name, 1000 + at]));
  const status = { ...exampleStatus, remap: { ...exampleStatus.remap, counters } };
  const { value } = parseExposition(metricsText([status]));
  for (const [key, { name, labels }] of Object.entries(remapCounterMetrics)) {
    assert.equal(value(`dm_remap_${name}`, { device: 'disk', ...labels }), counters[key]);
  }
  const { traffic, remap } = status;
  const of = (name: string, labels = {}): number | undefined =>
    value(`dm_remap_${name}`, { device: 'disk', ...labels });
  assert.equal(of('requests_total', { kind: 'write_zeroes' }), traffic.requests.writeZeroes);
  assert.equal(of('request_bytes_total', { kind: 'read' }), traffic.bytes.read);
  assert.equal(of('request_duration_seconds_count', { kind: 'write' }), 23);
  assert.equal(of('request_duration_seconds_sum', { kind: 'write' }), 140.0046);
  assert.equal(of('request_duration_seconds_bucket', { kind: 'write', le: '0.000256' }), 22);
  assert.equal(of('request_duration_seconds_bucket', { kind: 'write', le: '33.554432' }), 22);
  assert.equal(of('request_duration_seconds_bucket', { kind: 'write', le: '+Inf' }), 23);
  assert.equal(of('lost_sectors', { kind: 'unreadable' }), remap.unreadableSectors);
  assert.equal(of('lost_sectors', { kind: 'gone' }), remap.goneSectors);
  assert.equal(of('spare_slots', { state: 'retired' }), remap.slotsRetired);
  assert.equal(of('spare_used_ratio'), 1 - remap.slotsFree / remap.slotsTotal);
  assert.equal(of('oldest_stuck_request_seconds'), 43);
  assert.equal(of('health_score'), 39);
  assert.equal(of('spare_full_in_seconds'), 900 * 86_400);
  assert.equal(of('smart_value', { disk: 'main', path: '/dev/sdb', counter: 'reallocated_sectors' }), 8);
  assert.equal(of('smart_failing', { disk: 'main', path: '/dev/sdb' }), 0);
  assert.equal(of('smart_failing', { disk: 'spare', path: '/dev/sdc' }), undefined, 'nobody has asked it');
  assert.equal(of('scrub_state', { state: 'running' }), 1);
  assert.equal(of('scrub_position_bytes'), 67_108_864);
  assert.equal(of('scrub_main_bytes_total'), 67_100_672);
  assert.equal(of('scrub_finished_timestamp_seconds'), 1_699_000_003);
  assert.equal(of('health_state', { state: 'failing' }), 1);
  assert.equal(of('health_state', { state: 'ok' }), 0);
});

test('of a device that does not answer only that is told', () => {
  const text = metricsText([], [{ name: 'killed' }]);
  assert.match(text, /^# HELP dm_remap_up .*\n# TYPE dm_remap_up gauge\ndm_remap_up\{device="killed"\} 0\n$/);
});

test('a device without its spare has no figures of one, and one nobody judges none of its health', () => {
  const remap = { ...exampleStatus.remap, state: 'without-spare', slotsTotal: 0, counters: {} };
  const text = metricsText([{ ...exampleStatus, spare: null, scrub: null, health: null, remap }]);
  assert.doesNotMatch(text, /spare_used_ratio|spare_slots\{|remaps_total|scrub_|health_score|smart_/);
  assert.match(text, /^dm_remap_state\{device="disk",state="without-spare"\} 1$/m);
});

test('whatever a disk calls itself, it stays one label of one line', () => {
  fc.assert(
    fc.property(fc.string({ unit: letter }), fc.double(), (text, number) => {
      const families = [
        {
          name: 'dm_remap_x',
          type: 'gauge',
          help: 'Of\\a\ntest.',
          samples: [{ labels: { disk: text }, value: number }],
        },
      ] as const;
      const { value, series } = parseExposition(expositionText(families));
      assert.equal(series, 1);
      assert.ok(
        Object.is(
          value('dm_remap_x', { disk: text.replaceAll('\r', ' ') }),
          Object.is(number, -0) ? 0 : number,
        ),
      );
    }),
  );
});

test('the buckets for Prometheus count up to the count, whatever the durations are', () => {
  const bucket = fc.record({
    uptoSeconds: fc.constantFrom(8e-6, 32e-6, 40e-6, 0.001024, 1.048576, 33.554432, 40, null),
    count: fc.integer({ min: 1, max: 1e6 }),
  });
  fc.assert(
    fc.property(fc.uniqueArray(bucket, { selector: ({ uptoSeconds }) => uptoSeconds }), (buckets) => {
      const count = latencyCount(buckets);
      const values = latencySamples({}, { buckets, count, sumSeconds: 0 })
        .filter(({ suffix }) => suffix === '_bucket')
        .map(({ value }) => value);
      assert.deepEqual(
        values,
        values.toSorted((a, b) => a - b),
      );
      assert.equal(values.at(-1), count);
      const upto = (end: number): number =>
        latencyCount(buckets.filter(({ uptoSeconds }) => uptoSeconds !== null && uptoSeconds <= end));
      assert.equal(values[0], upto(32e-6));
      assert.equal(values.at(-2), upto(33.554432));
    }),
  );
});

test('GET /metrics of a device is what its status says, as Prometheus asks for it', async () => {
  const application = controlApplication({ ask: () => Promise.resolve(exampleStatus) });
  const answer = await application.request('/metrics');
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  assert.equal(await answer.text(), metricsText([exampleStatus]));
});
