import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { summaryText } from './summary-text.ts';
import { runWorlds } from './worlds.ts';

describe('a power cut at every device operation', () => {
  it('M4 M5 I12 R1 R22 loses nothing that was acknowledged and flushed', async (test) => {
    const { outcome } = await runWorlds({
      firstSeed: 1,
      seedsMin: 8,
      seedsMax: 60,
      forkEvery: 1,
      budgetMs: 60_000,
    });
    test.diagnostic(summaryText(outcome, 1));
    const { forks } = outcome;
    assert.ok(forks.powerCuts > 2000, `only ${forks.powerCuts} power cuts`);
    assert.ok(forks.kills > 200, `only ${forks.kills} kills`);
    assert.ok(forks.secondLives > 200, `only ${forks.secondLives} second lives`);
    assert.ok(forks.sectorsChecked > 1_000_000, `only ${forks.sectorsChecked} sectors were compared`);
  });
});
