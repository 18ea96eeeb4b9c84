import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DataThreadWatch } from '../../../src/control/data-thread-watch.ts';
import { turnSignIntervalMs } from '../../../src/device/messages.ts';
import { SharedTicks } from '../../../src/device/process/shared-ticks.ts';
import { TurnSign } from '../../../src/device/process/turn-sign.ts';
import { HandClock } from '../hand-clock.ts';

/** A thread and who watches it. */
class Bench {
  /** The thread's timers, which stand still while it does not turn. */
  readonly clock: HandClock = new HandClock();
  readonly stalls: number[] = [];
  stoodMs = 0;
  readonly sign: TurnSign;
  readonly watch: DataThreadWatch;

  constructor() {
    const nowNs = (): bigint => BigInt(this.clock.nowMs() + this.stoodMs) * 1_000_000n;
    const ticks = new SharedTicks(this.clock);
    this.sign = new TurnSign({ ticks, nowNs, onStall: (forMs) => this.stalls.push(forMs) });
    this.watch = new DataThreadWatch(this.sign.memory, nowNs);
  }
}

test('R35 a thread that turns gives its sign, whenever it began, and nothing is said', () => {
  const { clock, sign, stalls, watch } = new Bench();
  for (let passedMs = 0; passedMs < 10 * turnSignIntervalMs; passedMs += 500) {
    clock.advance(500);
    assert.equal(watch.stalledMs, undefined);
  }
  assert.deepEqual(stalls, []);
  sign.close();
  assert.equal(clock.waitingCount, 0, 'I24 no timer is left');
});

test('R35 one that did not turn is known meanwhile, and tells when it turns again', () => {
  const bench = new Bench();
  const { clock, sign, stalls, watch } = bench;
  clock.advance(turnSignIntervalMs);
  bench.stoodMs = 60_000;
  assert.equal(watch.stalledMs, 60_000);
  assert.deepEqual(stalls, [], 'it cannot tell yet');
  clock.advance(turnSignIntervalMs);
  assert.deepEqual(stalls, [60_000]);
  assert.equal(watch.stalledMs, undefined);
  clock.advance(turnSignIntervalMs);
  assert.equal(stalls.length, 1, 'once');
  sign.close();
});
