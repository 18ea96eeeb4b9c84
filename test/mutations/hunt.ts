import { parseArgs } from 'node:util';
import { detectors } from './detectors.ts';
import type { Finding, HuntReport } from './hunt-report.ts';

/**
 * `node hunt.js --seeds N --cpu-seconds S`: gives the seeds 1 to N to all detectors until one finds something or the time
 * is used up. Prints a `HuntReport` as its last line. Runs inside a compiled copy of the project.
 */
const { values } = parseArgs({
  options: { seeds: { type: 'string' }, 'cpu-seconds': { type: 'string' } },
});
const seedsMax = Number(values.seeds);
const cpuSecondsMax = Number(values['cpu-seconds']);

let seeds = 0;
let cuts = 0;
let running = '';

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function report(finding: Finding | undefined): void {
  const found: HuntReport = { seeds, cuts, cpuSeconds: cpuSeconds(), finding };
  process.stdout.write(`${JSON.stringify(found)}\n`, () => process.exit(0));
}

function findingOf(error: unknown): Finding {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
  return { detector: running, name, message: message.split('\n')[0] ?? '', stack: stack ?? '' };
}

async function hunt(): Promise<Finding | undefined> {
  while (seeds < seedsMax) {
    seeds += 1;
    for (const detector of detectors) {
      if (cpuSeconds() > cpuSecondsMax) return undefined;
      running = detector.name;
      try {
        cuts += await detector.run(seeds);
      } catch (error) {
        return findingOf(error);
      }
    }
  }
  return undefined;
}

// What nobody awaits any more may fail all the same: a background commit, or one of the clients of a world.
process.on('unhandledRejection', (error) => report(findingOf(error)));
report(await hunt());
