import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  longDelayMsMin,
  longTickMs,
  SharedTicks,
  sharedDelayMsMin,
  tickMs,
} from '../../../src/device/process/shared-ticks.ts';
import { HandClock } from '../hand-clock.ts';

test('what is done every ten seconds, by whomever and begun whenever, is done in one wake-up', () => {
  const clock = new HandClock();
  const ticks = new SharedTicks(clock);
  const done: string[] = [];
  const every = (name: string, delayMs: number): void => {
    ticks.schedule(delayMs, () => {
      done.push(`${name} ${clock.nowMs()}`);
      every(name, delayMs);
    });
  };
  clock.advance(1_130);
  every('a', 10_000);
  clock.advance(17);
  every('b', 10_000);
  clock.advance(100);
  every('c', 5_000);
  assert.equal(clock.waitingCount, 2, 'one timer a tick');
  clock.advance(4_753);
  assert.deepEqual(done, ['c 6000']);
  clock.advance(4_000);
  assert.deepEqual(done.splice(0), ['c 6000', 'a 10000', 'b 10000']);
  clock.advance(1_000);
  assert.equal(clock.waitingCount, 2);
  // A wake-up that comes late does not move what comes after it.
  clock.advance(5_030);
  clock.advance(3_990);
  clock.advance(980);
  assert.deepEqual(done, ['c 11000', 'c 16030', 'a 20020', 'b 20020', 'c 21000']);
});

test('a delay is met to half a tick, a short one to the millisecond', () => {
  const clock = new HandClock();
  const ticks = new SharedTicks(clock);
  clock.advance(777);
  for (const delayMs of [
    1,
    999,
    sharedDelayMsMin - 1,
    sharedDelayMsMin,
    5_499,
    5_500,
    longDelayMsMin,
    12_400,
    60_123,
  ]) {
    const startMs = clock.nowMs();
    let tookMs = -1;
    ticks.schedule(delayMs, () => {
      tookMs = clock.nowMs() - startMs;
    });
    while (tookMs < 0) clock.advance(1);
    const lengthMs = delayMs < sharedDelayMsMin ? 0 : delayMs < longDelayMsMin ? tickMs : longTickMs;
    assert.ok(Math.abs(tookMs - delayMs) <= lengthMs / 2, `${delayMs}: ${tookMs}`);
    assert.ok(Math.abs(tookMs - delayMs) <= delayMs / 4, `${delayMs}: ${tookMs}`);
  }
});

test('I24 what was cancelled is not done, also by what ends on the same tick, and leaves no timer', () => {
  const clock = new HandClock();
  const ticks = new SharedTicks(clock);
  const done: string[] = [];
  const act = (): void => {
    done.push('act');
  };
  const first = ticks.schedule(10_000, act);
  const second = ticks.schedule(10_000, act);
  first.cancel();
  first.cancel();
  clock.advance(10_000);
  assert.deepEqual(done, ['act'], 'the same function, asked for twice, once cancelled');
  second.cancel();
  ticks.schedule(10_000, () => third.cancel());
  const third = ticks.schedule(10_000, act);
  clock.advance(10_000);
  assert.deepEqual(done, ['act']);
  ticks.schedule(10_000, act).cancel();
  assert.equal(clock.waitingCount, 0);
});
