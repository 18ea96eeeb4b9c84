import assert from 'node:assert/strict';
import { test } from 'node:test';
import { figuresBetween } from '../../../src/cli/top/figures.ts';
import { bytesRateText, rateText } from '../../../src/cli/top/number-text.ts';
import { jsonOf, plainHead, plainLine } from '../../../src/cli/top/plain-line.ts';
import { exampleStatus } from '../../control/example-status.ts';
import { exampleView, trafficOf } from './views.ts';

function look(atMs: number, reads: number, more: object = {}): Parameters<typeof figuresBetween>[1] {
  return { atMs, status: { ...exampleStatus, traffic: trafficOf(reads, 0, 0), ...more } };
}

test('figures are of what came between two looks at one process, by the time between them', () => {
  const figures = figuresBetween(look(1_000, 10), look(1_500, 30));
  assert.equal(figures?.seconds, 0.5);
  assert.equal(figures?.kinds.read.requestsPerSecond, 40);
  assert.equal(figures?.kinds.read.bytesPerSecond, 40 * 4096);
  assert.equal(figures?.kinds.read.medianSeconds, 0.001);
  assert.equal(figures?.kinds.write.requestsPerSecond, 0);
  assert.equal(figures?.kinds.write.medianSeconds, undefined);
});

test('there are none before the second look, nor across a start of the process', () => {
  assert.equal(figuresBetween(undefined, look(1, 10)), undefined);
  assert.equal(figuresBetween(look(1, 10), look(2, 5, { pid: 4243 })), undefined);
  assert.equal(figuresBetween(look(1, 10), look(2, 5, { startedUnixSeconds: 1_700_000_001 })), undefined);
});

test('numbers fit their columns', () => {
  const rates = [0, 0.04, 9.94, 9.96, 1234.4, 9999.4, 9999.6, 999_949, 1e6, 3.2e9].map(rateText);
  assert.deepEqual(rates, ['0', '0.0', '9.9', '10', '1234', '9999', '10k', '1.0M', '1.0M', '3.2G']);
  const bytes = [0, 512, 1023.9, 1024, 5_033_165, 2 ** 40].map(bytesRateText);
  assert.deepEqual(bytes, ['0 B/s', '512 B/s', '1.0 KiB/s', '1.0 KiB/s', '4.8 MiB/s', '1.0 TiB/s']);
});

test('a line has a word for each word of the head, in its place', () => {
  const view = exampleView({ name: 'disk' });
  assert.ok(view.status !== undefined);
  const seen = { ...view, status: view.status };
  const head = plainHead().split(/ +/);
  const line = plainLine(seen, Date.UTC(2026, 0, 31, 14, 5, 9)).split(/ +/);
  assert.equal(line.length, head.length);
  const by = Object.fromEntries(head.map((name, at) => [name, line[at]]));
  assert.deepEqual(
    [by['TIME'], by['DEVICE'], by['READ/s'], by['READ-B/s'], by['WRIT99-ms'], by['ERRORS']],
    ['2026-01-31T14:05:09Z', 'disk', '50', '204800', '20.000', '1'],
  );
  assert.deepEqual(Object.keys(jsonOf({ ...seen, figures: undefined }, 1)), Object.keys(jsonOf(seen, 1)));
});
