import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { summaryText } from './summary-text.ts';
import { runWorlds, secondHalf } from './worlds.ts';

// A file of its own, so that the other lane of the test runner is busy with worlds as well.
describe('worlds with every fault of a disk, second half', () => {
  it('R1-R24 M1-M9 I8 I17 R36 keep what was acknowledged, answer everything, and work again when all is well', async (test) => {
    const { outcome, seeds } = await runWorlds(secondHalf);
    test.diagnostic(`${seeds} seeds\n${summaryText(outcome, 1)}`);
    assert.ok(outcome.remappedGranules > 30, `only ${outcome.remappedGranules} remaps`);
    assert.ok(outcome.forks.powerCuts > 0, 'the power was never cut in a fork');
  });
});
