import { Worker } from 'node:worker_threads';
import { runWorld, type WorldOptions } from '../../src/simulator/world/world.ts';
import { addOutcome, type WorldOutcome } from '../../src/simulator/world/world-outcome.ts';
import { addReached, StatesMeter, type StatesReached, statesAsked } from './states/states-reached.ts';

export interface SeedRun {
  readonly firstSeed: number;
  readonly seeds: number;
  readonly forkEvery: number;
  /** Threads: each runs every n-th seed. 1: this thread. */
  readonly jobs: number;
  /** Gets the sum of all outcomes. */
  readonly total: WorldOutcome;
  /** Gets what all worlds reached, in the order of `statesAsked`. */
  readonly reached: StatesReached;
  /** False: no further seed. */
  readonly onSeed: (done: number) => boolean;
}

/** What a job is told, and what it says of each seed. */
export interface JobOrder {
  readonly firstSeed: number;
  readonly seeds: number;
  readonly step: number;
  readonly forkEvery: number;
}

export type JobReport =
  | { readonly seed: number; readonly outcome: WorldOutcome; readonly reached: StatesReached }
  | { readonly seed: number; readonly failed: true };

/** Runs worlds until one fails: its options are returned. Undefined when none did. */
export async function runSeeds(run: SeedRun): Promise<WorldOptions | undefined> {
  const { firstSeed, seeds, forkEvery, jobs } = run;
  let done = 0;
  let failure: WorldOptions | undefined;
  let goesOn = true;
  const hear = (report: JobReport): boolean => {
    if ('failed' in report) failure ??= { seed: report.seed, forkEvery };
    else {
      addOutcome(run.total, report.outcome);
      addReached(run.reached, report.reached);
      done += 1;
      goesOn &&= run.onSeed(done);
    }
    return goesOn && failure === undefined;
  };
  const orders = Array.from({ length: jobs }, (_, job) => ({
    firstSeed: firstSeed + job,
    seeds: Math.ceil((seeds - job) / jobs),
    step: jobs,
    forkEvery,
  }));
  if (jobs === 1) await doJob(orders[0]!, hear);
  else await Promise.all(orders.map((order) => doInThread(order, hear)));
  return failure;
}

/**
 * One job: `hear` says whether to go on. Errors have no stacks meanwhile: failing disks make thousands of them a second, and
 * the world that fails is run again for its own.
 */
export async function doJob(order: JobOrder, hear: (report: JobReport) => boolean): Promise<void> {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  const meter = new StatesMeter(statesAsked());
  for (let index = 0; index < order.seeds; index += 1) {
    const seed = order.firstSeed + index * order.step;
    let report: JobReport;
    try {
      meter.begin();
      const outcome = await runWorld({ seed, forkEvery: order.forkEvery });
      report = { seed, outcome, reached: meter.ended(outcome) };
    } catch {
      report = { seed, failed: true };
    }
    if (!hear(report)) break;
  }
  meter.end();
  Error.stackTraceLimit = stackTraceLimit;
}

function doInThread(order: JobOrder, hear: (report: JobReport) => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./seed-job-thread.js', import.meta.url), { workerData: order });
    worker.on('message', (report: JobReport) => {
      if (!hear(report)) void worker.terminate();
    });
    worker.on('error', reject);
    worker.on('exit', () => resolve());
  });
}
