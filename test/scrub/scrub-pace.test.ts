import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { arrearsMsMax, busyPauseMsMin, busyShare, idleAfterMs } from '../../src/scrub/scrub-limits.ts';
import { ScrubPace } from '../../src/scrub/scrub-pace.ts';
import { HandClock } from '../device/hand-clock.ts';

interface Use {
  readonly clock: HandClock;
  readonly pace: ScrubPace;
  requests: number;
  inFlight: number;
}

function newPace(bytesPerSecond: number): Use {
  const clock = new HandClock();
  clock.advance(1_000_000);
  const use = { clock, requests: 0, inFlight: 0 };
  const pace = new ScrubPace({
    clock,
    clientRequests: () => use.requests,
    othersInFlight: () => use.inFlight,
    bytesPerSecondMax: () => bytesPerSecond,
  });
  return Object.assign(use, { pace });
}

describe('the pace of a scrub', () => {
  it('is never above its rate, but for one read and what late timers owe', () => {
    const read = fc.record({
      bytes: fc.integer({ min: 512, max: 1 << 20 }),
      tookMs: fc.integer({ min: 0, max: 500 }),
      lateMs: fc.integer({ min: 0, max: 300 }),
      isUsed: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.integer({ min: 1 << 18, max: 1 << 28 }),
        fc.array(read, { minLength: 1 }),
        (rate, reads) => {
          const use = newPace(rate);
          const sinceMs = use.clock.nowMs();
          let total = 0;
          for (const { bytes, tookMs, lateMs, isUsed } of reads) {
            const allowed = (rate * (use.clock.nowMs() - sinceMs + arrearsMsMax)) / 1000 + 1;
            assert.ok(total <= allowed, `${total} bytes are read where ${allowed} may be`);
            if (isUsed) use.requests += 1;
            use.clock.advance(tookMs);
            total += bytes;
            use.clock.advance(use.pace.pauseMs(bytes, tookMs) + lateMs);
          }
        },
      ),
    );
  });

  it('is a small share of the time while clients work, whatever a read takes', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 5_000 }), { minLength: 1 }), (times) => {
        const use = newPace(0);
        for (const tookMs of times) {
          use.requests += 1;
          use.clock.advance(tookMs);
          const pauseMs = use.pace.pauseMs(1, tookMs);
          assert.ok(pauseMs >= busyPauseMsMin);
          assert.ok(tookMs <= (tookMs + pauseMs) * (busyShare + 1e-9));
          use.clock.advance(pauseMs);
        }
      }),
    );
  });

  it('is that of an idle disk only when nobody has asked for anything for a while, and nothing is under way', () => {
    const use = newPace(0);
    assert.equal(use.pace.isIdle, true);
    use.requests += 1;
    assert.equal(use.pace.isIdle, false);
    use.clock.advance(idleAfterMs - 1);
    assert.equal(use.pace.isIdle, false);
    use.clock.advance(1);
    assert.equal(use.pace.isIdle, true);
    use.inFlight = 1;
    use.clock.advance(10 * idleAfterMs);
    assert.equal(use.pace.isIdle, false, 'a request that hangs is one');
    use.inFlight = 0;
    use.clock.advance(idleAfterMs);
    assert.equal(use.pace.pauseMs(1 << 20, 100), 0);
  });
});
