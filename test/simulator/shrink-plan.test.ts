import assert from 'node:assert/strict';
import { it } from 'node:test';
import { drawPlan } from '../../src/simulator/world/plan-drawing.ts';
import { shrinkWorld } from '../../src/simulator/world/shrink-plan.ts';
import type { WorldOptions } from '../../src/simulator/world/world.ts';
import { cutPlan } from '../../src/simulator/world/world-plan.ts';
import { failedWorld, optionsOfReplay } from './failed-world.ts';

/** A world that fails as long as these steps are in it. */
function needs(...steps: readonly number[]): (options: WorldOptions) => Promise<void> {
  return (options) => {
    const fails = steps.every((step) => options.steps?.includes(step) ?? true);
    return fails ? Promise.reject(new Error(`needs ${steps.join(', ')}`)) : Promise.resolve();
  };
}

it('a world that keeps its promises is not made smaller', async () => {
  const error = new Error('it failed once');
  const shrunk = await shrinkWorld({ seed: 5, forkEvery: 0 }, error, { runsMax: 20 });
  assert.equal(shrunk.error, error);
  assert.deepEqual(shrunk.options, { seed: 5, forkEvery: 0 });
  assert.equal(shrunk.runs, 20);
});

it('what is left of a plan has the steps that were kept, in their order', () => {
  const plan = drawPlan(5);
  const cut = cutPlan(plan, { seed: 5, steps: [1, 4], sessions: 1, oneClient: true });
  assert.equal(cut.sessions.length, 1);
  assert.deepEqual(
    cut.steps.map(({ step }) => step),
    [1, 4]
      .map((index) => plan.steps[index]!)
      .filter(({ session }) => session === 0)
      .map(({ step }) => step),
  );
  assert.ok(cut.steps.every(({ client }) => client === 0));
});

it('a world that fails is left with the steps that it fails by, and its line repeats just these', async () => {
  const failed = await failedWorld({ seed: 5, forkEvery: 40 }, needs(2, 9));
  assert.ok(failed !== undefined);
  assert.equal(failed.steps.length, 2);
  const shrunk = optionsOfReplay(
    failed.line.slice(failed.line.indexOf('{'), failed.line.lastIndexOf('}') + 1),
  );
  assert.deepEqual(shrunk, { seed: 5, forkEvery: 1, oneClient: true, sessions: 1, steps: [2, 9] });
});

it('shrinking ends after its runs, with the smallest world so far', async () => {
  for (const runsMax of [0, 1, 7]) {
    const error = new Error('first');
    const shrunk = await shrinkWorld({ seed: 5, forkEvery: 40 }, error, { runsMax, run: needs(2, 9) });
    assert.equal(shrunk.runs, runsMax);
    await assert.rejects(needs(2, 9)(shrunk.options));
  }
});

it('shrinking ends when its time is over, and prints the line that it has', async () => {
  const failed = await failedWorld({ seed: 5, forkEvery: 40 }, needs(2, 9), 0);
  assert.match(failed?.line ?? '', /--replay '\{"seed":5,"forkEvery":40\}'/);
  assert.equal(failed?.steps.length, drawPlan(5).steps.length);
});
