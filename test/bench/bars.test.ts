import assert from 'node:assert/strict';
import test from 'node:test';
import { type Bar, judgeBars, type MeasuredRows } from '../../bench/bars.ts';
import type { Row } from '../../bench/measure.ts';
import { bars, entries, plannedWorkloads } from '../../bench/plan.ts';
import { summarize } from '../../bench/statistics.ts';
import { workload, workloadName } from '../../bench/workload.ts';

function row(
  contestant: string,
  rates: readonly number[],
  costs: readonly number[],
  clientBound = false,
): Row {
  const nothing = summarize([0]);
  return {
    contestant,
    operationsPerSecond: summarize(rates),
    medianLatencyUs: nothing,
    latency99Us: nothing,
    serverUsPerOperation: summarize(costs),
    clientCoreShare: nothing,
    clientBound,
    operationsPerSecondOfRounds: rates,
    serverUsPerOperationOfRounds: costs,
  };
}

const work = workload('randread', 4096, 32);
const name = workloadName(work);
const section: MeasuredRows = {
  name,
  rows: [
    row('ours', [200, 220, 180], [4, 4, 5]),
    row('slow', [50, 50, 50], [20, 20, 20]),
    row('fast', [100, 125, 90], [8, 8, 8], true),
  ],
};

function bar(more: Partial<Bar>): Bar {
  return { workload: name, one: 'ours', others: ['slow', 'fast', 'absent'], figure: 'rate', ...more };
}

test('a rate is judged against the fastest of the others that took part', () => {
  const [met, missed] = judgeBars([bar({ least: 2 }), bar({ least: 2.01 })], [section]);
  assert.deepEqual([met?.other, met?.ratio, met?.met, met?.clientBound], ['fast', 2, true, true]);
  assert.equal(missed?.met, false);
});

test('processor time is judged against the cheapest of the others', () => {
  const [met, missed] = judgeBars(
    [bar({ figure: 'processor time', most: 0.5 }), bar({ figure: 'processor time', most: 0.49 })],
    [section],
  );
  assert.deepEqual([met?.other, met?.ratio, met?.met], ['fast', 0.5, true]);
  assert.equal(missed?.met, false);
});

test('a bar whose rows were not measured is not judged', () => {
  assert.deepEqual(
    judgeBars([bar({ least: 1, others: ['absent'] }), bar({ least: 1, one: 'nobody' })], [section]),
    [],
  );
  assert.deepEqual(judgeBars([bar({ least: 1, workload: 'other' })], [section]), []);
});

test('every bar names a workload and contestants that the plan has', () => {
  const workloads = new Set(
    plannedWorkloads.map(
      ({ workload: planned, direct }) => `${workloadName(planned)}${direct ? ', O_DIRECT' : ''}`,
    ),
  );
  assert.equal(workloads.size, plannedWorkloads.length, 'names of workloads are unique');
  const names = new Set(entries.map((entry) => entry.name));
  assert.equal(names.size, entries.length, 'names of contestants are unique');
  for (const { workload: wanted, one, others } of bars) {
    assert.ok(workloads.has(wanted), wanted);
    for (const contestant of [one, ...others]) assert.ok(names.has(contestant), contestant);
  }
});
