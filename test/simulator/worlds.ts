import { performance } from 'node:perf_hooks';
import { runWorld } from '../../src/simulator/world/world.ts';
import { addOutcome, emptyOutcome, type WorldOutcome } from '../../src/simulator/world/world-outcome.ts';
import { failedWorld } from './failed-world.ts';

export interface WorldsRun {
  readonly firstSeed: number;
  /** Run whatever the time is: enough for what a test asserts. */
  readonly seedsMin: number;
  readonly seedsMax: number;
  readonly forkEvery: number;
}

/** Worlds go on for so long behind the first `seedsMin`: in CI the two files together take 4 minutes of one core. */
const budgetMs = process.env['CI'] === undefined ? 5000 : 110_000;

export interface WorldsSum {
  readonly outcome: WorldOutcome;
  readonly seeds: number;
}

/** Runs worlds, and fails with the shrunk world and its replay line when one breaks a promise. */
export async function runWorlds(run: WorldsRun): Promise<WorldsSum> {
  const outcome = emptyOutcome();
  const startMs = performance.now();
  let seeds = 0;
  while (seeds < run.seedsMin || (seeds < run.seedsMax && performance.now() - startMs < budgetMs)) {
    const options = { seed: run.firstSeed + seeds, forkEvery: run.forkEvery };
    try {
      addOutcome(outcome, await runWorld(options));
    } catch (error) {
      const failed = await failedWorld(options);
      const why =
        failed === undefined ? 'not again when repeated' : `${failed.steps.join('\n')}\n${failed.line}`;
      throw new Error(`seed ${options.seed} breaks a promise\n${why}`, { cause: failed?.error ?? error });
    }
    seeds += 1;
  }
  return { outcome, seeds };
}
