import assert from 'node:assert/strict';
import { it } from 'node:test';
import { shrinkRunsMax, shrinkWorld } from '../../src/simulator/shrink-plan.ts';
import { cutPlan, drawPlan } from '../../src/simulator/world-plan.ts';

it('a world that keeps its promises is not made smaller', async () => {
  const error = new Error('it failed once');
  const shrunk = await shrinkWorld({ seed: 5, forkEvery: 0 }, error);
  assert.equal(shrunk.error, error);
  assert.deepEqual(shrunk.options, { seed: 5, forkEvery: 0 });
  assert.ok(shrunk.runs <= shrinkRunsMax);
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
