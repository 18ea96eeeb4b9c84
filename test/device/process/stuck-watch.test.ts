import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WaitingRequests } from '../../../src/device/messages.ts';
import {
  retellAfterSeconds,
  retellAfterSecondsMax,
  type StuckReport,
  StuckWatch,
} from '../../../src/device/process/stuck-watch.ts';
import { stuckAfterSeconds, stuckListedMax } from '../../../src/device/stuck-limits.ts';

class Bench {
  waiting: WaitingRequests = { count: 0, oldest: [] };
  readonly asked = new Set<string>();
  readonly told: [atSecond: number, StuckReport][] = [];
  readonly watch: StuckWatch;
  second = 0;

  constructor() {
    this.watch = new StuckWatch({
      unanswered: (minAgeSeconds, listedMax) => {
        this.asked.add(`${minAgeSeconds} ${listedMax}`);
        return this.waiting;
      },
      tell: (report) => this.told.push([this.second, report]),
    });
  }

  stuck(count: number, ageSeconds: number): void {
    const request = { kind: 'write', offset: 0, length: 512, ageSeconds, phase: 'at-main' } as const;
    this.waiting = { count, oldest: count === 0 ? [] : [request] };
  }

  seconds(count: number): void {
    for (let at = 0; at < count; at += 1) {
      this.second += 1;
      this.watch.look();
    }
  }
}

test('I22 nothing is told while every request is young', () => {
  const bench = new Bench();
  bench.seconds(100);
  assert.deepEqual(bench.told, []);
  assert.deepEqual([...bench.asked], [`${stuckAfterSeconds} ${stuckListedMax}`]);
});

test('I22 stuck requests are told when they become so, then less and less often, and once when they end', () => {
  const bench = new Bench();
  bench.stuck(3, 10);
  bench.seconds(1);
  bench.stuck(5, 4000);
  bench.seconds(4000);
  bench.stuck(0, 0);
  bench.seconds(5);
  const times = bench.told.map(([at, { event }]) => `${event} ${at}`);
  assert.deepEqual(times.slice(0, 4), ['begun 1', 'still 21', 'still 61', 'still 141']);
  assert.equal(times.at(-1), 'ended 4002');
  assert.equal(times.filter((line) => line.startsWith('ended')).length, 1);
  const still = bench.told.filter(([, { event }]) => event === 'still').map(([at]) => at);
  const pauses = still.slice(1).map((at, index) => at - still[index]!);
  assert.equal(pauses[0], 2 * retellAfterSeconds);
  assert.equal(Math.max(...pauses), retellAfterSecondsMax);
  assert.equal(bench.told[0]![1].requests.count, 3);
  assert.deepEqual(bench.told.at(-1)![1], {
    event: 'ended',
    requests: { count: 0, oldest: [] },
    longestSeconds: 4000,
  });
});

test('I22 the next time is told at once again', () => {
  const bench = new Bench();
  for (let round = 0; round < 2; round += 1) {
    bench.stuck(1, 10);
    bench.seconds(1);
    bench.stuck(0, 0);
    bench.seconds(1);
  }
  assert.deepEqual(
    bench.told.map(([at, { event }]) => `${event} ${at}`),
    ['begun 1', 'ended 2', 'begun 3', 'ended 4'],
  );
  assert.equal(bench.told[2]![1].longestSeconds, 10, 'the age of this time, not of the one before');
});
