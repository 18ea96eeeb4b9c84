import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { delay } from '../../src/block/clock.ts';
import { RealClock } from '../../src/io/real-clock.ts';
import { RealRandom } from '../../src/io/real-random.ts';

describe('the real clock', () => {
  it('never calls before the time', async () => {
    const clock = new RealClock();
    for (const delayMs of [0, 0.5, 3.2, 10]) {
      const started = clock.nowMs();
      await delay(clock, delayMs);
      assert.ok(clock.nowMs() - started >= delayMs - 0.01, `${delayMs} ms`);
    }
  });

  it('does not call what was cancelled', async () => {
    const clock = new RealClock();
    let called = 0;
    const action = clock.schedule(5, () => {
      called += 1;
    });
    clock
      .schedule(1e12, () => {
        called += 1;
      })
      .cancel();
    action.cancel();
    await sleep(20);
    assert.equal(called, 0);
  });

  it('tells the date', () => {
    assert.ok(Math.abs(new RealClock().unixMs() - Date.now()) < 1000);
  });
});

describe('real chance', () => {
  it('gives whole numbers of 32 bits and fills memory', () => {
    const random = new RealRandom();
    const numbers = Array.from({ length: 100 }, () => random.u32());
    assert.ok(numbers.every((value) => Number.isInteger(value) && value >= 0 && value < 2 ** 32));
    assert.ok(new Set(numbers).size > 90);
    const bytes = new Uint8Array(64);
    random.fill(bytes);
    assert.ok(bytes.some((byte) => byte !== 0));
  });
});
