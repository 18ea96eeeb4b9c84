import { Worker } from 'node:worker_threads';
import { runWorld, type WorldOptions } from '../../src/simulator/world/world.ts';
import { addOutcome, type WorldOutcome } from '../../src/simulator/world/world-outcome.ts';

export interface SeedRun {
  readonly firstSeed: number;
  readonly seeds: number;
  readonly forkEvery: number;
  /** Threads: each runs every n-th seed. 1: this thread. */
  readonly jobs: number;
  /** Gets the sum of all outcomes. */
  readonly total: WorldOutcome;
  readonly onSeed: (done: number) => void;
}

/** What a job is told, and what it says of each seed. */
export interface JobOrder {
  readonly firstSeed: number;
  readonly seeds: number;
  readonly step: number;
  readonly forkEvery: number;
}

export type JobReport =
  | { readonly seed: number; readonly outcome: WorldOutcome }
  | { readonly seed: number; readonly failed: true };

/** Runs worlds until one fails: its options are returned. Undefined when none did. */
export async function runSeeds(run: SeedRun): Promise<WorldOptions | undefined> {
  const { firstSeed, seeds, forkEvery, jobs } = run;
  let done = 0;
  let failure: WorldOptions | undefined;
  const hear = (report: JobReport): boolean => {
    if ('failed' in report) failure ??= { seed: report.seed, forkEvery };
    else {
      addOutcome(run.total, report.outcome);
      done += 1;
      run.onSeed(done);
    }
    return failure === undefined;
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
  for (let index = 0; index < order.seeds; index += 1) {
    const seed = order.firstSeed + index * order.step;
    let report: JobReport;
    try {
      report = { seed, outcome: await runWorld({ seed, forkEvery: order.forkEvery }) };
    } catch {
      report = { seed, failed: true };
    }
    if (!hear(report)) break;
  }
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
