import { performance } from 'node:perf_hooks';
import { runWorld } from '../../src/simulator/world/world.ts';
import { addOutcome, emptyOutcome, type WorldOutcome } from '../../src/simulator/world/world-outcome.ts';
import { failedWorld } from './failed-world.ts';
import {
  addReached,
  nothingReached,
  type StatesAsked,
  StatesMeter,
  type StatesReached,
  statesAsked,
} from './states/states-reached.ts';

export interface WorldsRun {
  readonly firstSeed: number;
  /** Run whatever the time is: enough for what a test asserts. */
  readonly seedsMin: number;
  readonly seedsMax: number;
  readonly forkEvery: number;
  /** Milliseconds in which worlds go on behind the first `seedsMin`, in CI. */
  readonly budgetMs: number;
}

/** Whoever waits for the tests at a desk gets the first seeds only. */
const budgetAtDeskMs = 5000;
const isCi = process.env['CI'] !== undefined;

/**
 * In CI one minute of each lane of the test runner, or 5 000 seeds. Of their device operations so few are cut that most of
 * the time goes to other seeds; `power-cut.test.ts` cuts at all of them.
 */
const halves = { forkEvery: 300, budgetMs: 60_000 };
export const firstHalf: WorldsRun = { ...halves, firstSeed: 1, seedsMin: 250, seedsMax: 2500 };
export const secondHalf: WorldsRun = { ...halves, firstSeed: 2501, seedsMin: 30, seedsMax: 2500 };

export interface WorldsSum {
  readonly outcome: WorldOutcome;
  readonly seeds: number;
  readonly asked: StatesAsked;
  readonly reached: StatesReached;
}

/** Runs worlds, and fails with the shrunk world and its replay line when one breaks a promise. */
export async function runWorlds(run: WorldsRun): Promise<WorldsSum> {
  const outcome = emptyOutcome();
  const asked = statesAsked();
  const reached = nothingReached(asked);
  const meter = new StatesMeter(asked);
  const startMs = performance.now();
  const budgetMs = isCi ? run.budgetMs : Math.min(run.budgetMs, budgetAtDeskMs);
  let seeds = 0;
  while (seeds < run.seedsMin || (seeds < run.seedsMax && performance.now() - startMs < budgetMs)) {
    const options = { seed: run.firstSeed + seeds, forkEvery: run.forkEvery };
    try {
      meter.begin();
      const one = await runWorld(options);
      addOutcome(outcome, one);
      addReached(reached, meter.ended(one));
    } catch (error) {
      const failed = await failedWorld(options);
      const why =
        failed === undefined ? 'not again when repeated' : `${failed.steps.join('\n')}\n${failed.line}`;
      throw new Error(`seed ${options.seed} breaks a promise\n${why}`, { cause: failed?.error ?? error });
    }
    seeds += 1;
  }
  meter.end();
  return { outcome, seeds, asked, reached };
}
