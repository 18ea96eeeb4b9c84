import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { runWorld } from '../../src/simulator/world.ts';
import { addOutcome, emptyOutcome, type WorldOutcome } from '../../src/simulator/world-outcome.ts';

async function run(firstSeed: number, seeds: number, forkEvery: number): Promise<WorldOutcome> {
  const sum = emptyOutcome();
  for (let seed = firstSeed; seed < firstSeed + seeds; seed += 1) {
    try {
      addOutcome(sum, await runWorld({ seed, forkEvery }));
    } catch (error) {
      throw new Error(`to repeat it: npm run simulate -- --seeds 1 --seed ${seed}`, { cause: error });
    }
  }
  return sum;
}

describe('a power cut at every device operation', () => {
  it('M4 M5 I12 R1 R22 loses nothing that was acknowledged and flushed', async () => {
    const outcome = await run(1, 8, 1);
    assert.ok(outcome.forks.powerCuts > 2000, `only ${outcome.forks.powerCuts} power cuts`);
    assert.ok(outcome.forks.kills > 200, `only ${outcome.forks.kills} kills`);
    assert.ok(outcome.forks.secondLives > 200, `only ${outcome.forks.secondLives} second lives`);
  });
});

describe('worlds with faults', () => {
  it('R1 R4 R23 I8 keep every acknowledged byte over bad sectors, restarts and checkpoints', async () => {
    const outcome = await run(5000, 100, 40);
    assert.ok(outcome.remappedGranules > 100, `only ${outcome.remappedGranules} remaps`);
    assert.ok(outcome.checkpoints > 20, `only ${outcome.checkpoints} checkpoints`);
    assert.ok(outcome.mainFaults.badSectorWrites > 0, 'no bad sector was ever met');
    assert.ok(outcome.lostSectors > 0, 'no sector was ever lost');
  });

  it('repeat exactly from their seed', async () => {
    assert.deepEqual(await run(7, 1, 10), await run(7, 1, 10));
  });
});
