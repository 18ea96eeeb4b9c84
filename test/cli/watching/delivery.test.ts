import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { AlertPosition } from '../../../src/cli/watching/alert-position.ts';
import {
  alertsWaitingMax,
  Delivery,
  retryDelayMaxMs,
  retryDelayMinMs,
} from '../../../src/cli/watching/delivery.ts';
import { alertNumber, ListeningReceiver } from './alerts.ts';

function deliveryTo(receiver: ListeningReceiver, complaints: string[] = []): Delivery {
  return new Delivery(receiver, new AlertPosition(), (line) => complaints.push(line));
}

test('one who is told one by one hears a burst so, and what comes too fast in one', async () => {
  const receiver = new ListeningReceiver(false);
  const delivery = deliveryTo(receiver);
  for (let number = 1; number <= 8; number += 1) delivery.offer(alertNumber(number));
  await delivery.run(0);
  assert.deepEqual(receiver.calls, [
    [[1], 0],
    [[2], 0],
    [[3], 0],
  ]);
  assert.equal(delivery.waiting, 5);
  await delivery.run(999);
  assert.equal(receiver.calls.length, 3, 'not before its allowance is back');
  delivery.offer(alertNumber(9));
  await delivery.run(1_000);
  assert.deepEqual(receiver.calls.at(-1), [[4, 5, 6, 7, 8, 9], 0]);
  assert.equal(delivery.waiting, 0);
  delivery.offer(alertNumber(10));
  delivery.offer(alertNumber(11));
  await delivery.run(10_000);
  assert.deepEqual(receiver.calls.slice(-2), [
    [[10], 0],
    [[11], 0],
  ]);
});

test('one who is told all together hears no more often than it may, and misses nothing', async () => {
  const receiver = new ListeningReceiver(true, 2);
  const delivery = deliveryTo(receiver);
  for (let second = 0; second < 20; second += 0.25) {
    delivery.offer(alertNumber(second * 4 + 1));
    await delivery.run(second * 1_000);
  }
  await delivery.run(60_000);
  assert.deepEqual(
    receiver.heard,
    Array.from({ length: 80 }, (_, at) => at + 1),
  );
  assert.ok(receiver.calls.length <= 2 + 20 + 1, `${receiver.calls.length} calls`);
});

test('what could not be told waits, is tried again ever more seldom, and is told', async () => {
  const receiver = new ListeningReceiver(true);
  const complaints: string[] = [];
  const delivery = deliveryTo(receiver, complaints);
  receiver.fails = true;
  delivery.offer(alertNumber(1));
  let nowMs = 0;
  const tries: number[] = [];
  for (; nowMs < 12 * retryDelayMaxMs; nowMs += retryDelayMinMs) {
    const before = complaints.length;
    assert.equal(await delivery.run(nowMs), false, 'its position stays');
    if (complaints.length > before) tries.push(nowMs);
  }
  const delays = tries.slice(1).map((at, index) => at - tries[index]!);
  assert.deepEqual(
    delays.slice(0, 4),
    [1, 2, 4, 8].map((times) => times * retryDelayMinMs),
  );
  assert.equal(Math.max(...delays), retryDelayMaxMs);
  assert.equal(complaints[0], 'ear: no answer; 1 alerts wait, again in 1 min');
  delivery.offer(alertNumber(2));
  receiver.fails = false;
  assert.equal(await delivery.run(nowMs + retryDelayMaxMs), true);
  assert.deepEqual(receiver.calls, [[[1, 2], 0]]);
});

test('of more than are kept the number is told', async () => {
  const receiver = new ListeningReceiver(true);
  const delivery = deliveryTo(receiver);
  for (let number = 1; number <= alertsWaitingMax + 7; number += 1) delivery.offer(alertNumber(number));
  assert.equal(delivery.waiting, alertsWaitingMax + 7);
  await delivery.run(0);
  assert.equal(receiver.heard.length, alertsWaitingMax);
  assert.equal(receiver.calls[0]![1], 7);
  assert.equal(delivery.waiting, 0);
});

test('over restarts and failures each alert is heard once, and in order', async () => {
  const step = fc.oneof(
    fc.record({ type: fc.constant('happen' as const), count: fc.integer({ min: 1, max: 5 }) }),
    fc.record({
      type: fc.constantFrom('look' as const, 'fail' as const, 'mend' as const, 'restart' as const),
    }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.boolean(), async (steps, joins) => {
      const receiver = new ListeningReceiver(joins);
      let happened = 0;
      let nowMs = 0;
      let delivery = deliveryTo(receiver);
      const look = async (): Promise<void> => {
        nowMs += 700;
        // As a monitor that reads its logs: from the beginning after a restart, so all again.
        for (let number = 1; number <= happened; number += 1) delivery.offer(alertNumber(number));
        await delivery.run(nowMs);
      };
      for (const one of steps) {
        if (one.type === 'happen') happened += one.count;
        if (one.type === 'look') await look();
        if (one.type === 'fail') receiver.fails = true;
        if (one.type === 'mend') receiver.fails = false;
        if (one.type === 'restart') {
          const stored = JSON.parse(JSON.stringify(delivery.position.stored(() => true)));
          delivery = new Delivery(receiver, new AlertPosition(stored), () => undefined);
        }
      }
      receiver.fails = false;
      nowMs += 2 * retryDelayMaxMs;
      await look();
      nowMs += retryDelayMaxMs;
      await look();
      assert.deepEqual(
        receiver.heard,
        Array.from({ length: happened }, (_, at) => at + 1),
      );
    }),
    { numRuns: 200 },
  );
});

test('a log that begins anew is heard from its beginning, a clock that goes back tells nothing twice', () => {
  const position = new AlertPosition();
  const tell = (sequence: number, orderMs: number): boolean => {
    const place = { source: '/log', sequence, orderMs };
    const isNew = position.isNew(place);
    if (isNew) position.advance(place);
    return isNew;
  };
  assert.deepEqual([tell(1, 1_000), tell(2, 2_000), tell(3, 500)], [true, true, true]);
  assert.deepEqual([tell(1, 1_000), tell(2, 2_000), tell(3, 500)], [false, false, false]);
  assert.deepEqual([tell(1, 9_000), tell(2, 9_001), tell(3, 9_001)], [true, true, true]);
  assert.deepEqual([tell(1, 9_000), tell(2, 9_001), tell(3, 9_001)], [false, false, false]);
  assert.deepEqual(
    position.stored(() => false),
    {},
    'what is no more is forgotten',
  );
});
