import { parentPort, workerData } from 'node:worker_threads';
import { doJob, type JobOrder } from './seed-jobs.ts';

// A job of `runSeeds` in a thread of its own. Its thread ends when somebody hears of a failure.
await doJob(workerData as JobOrder, (report) => {
  parentPort?.postMessage(report);
  return true;
});
