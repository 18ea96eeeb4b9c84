import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { nightOf, seedsOfNight } from './night.ts';

describe('the seeds of a night', () => {
  it('are the same for one date, and no other night has them', () => {
    const one = nightOf('2026-11-20')!;
    const next = nightOf('2026-11-21')!;
    assert.deepEqual(one, nightOf('2026-11-20'));
    assert.equal(one.seeds, seedsOfNight);
    assert.equal(next.firstSeed, one.firstSeed + seedsOfNight);
  });

  it('are below 1 000 000 000, which --seed takes', () => {
    assert.ok(nightOf('2053-01-01')!.firstSeed + seedsOfNight < 1_000_000_000);
  });

  it('are refused for what is no date', () => {
    for (const wrong of ['2026-02-30', '2025-12-31', '20261120', 'today', '', '2026-11-20T00:00'])
      assert.equal(nightOf(wrong), undefined, wrong);
  });
});
