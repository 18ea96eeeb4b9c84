import { availableParallelism } from 'node:os';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { runWorld, type WorldOptions } from '../src/simulator/world/world.ts';
import { emptyOutcome } from '../src/simulator/world/world-outcome.ts';
import { type FailedWorld, failedWorld, optionsOfReplay } from './simulator/failed-world.ts';
import { runSeeds } from './simulator/seed-jobs.ts';
import { summaryText } from './simulator/summary-text.ts';

const usage = `npm run simulate -- [--seeds N] [--seed S] [--fork-every N] [--jobs N]
npm run simulate -- --replay '{"seed":S,...}'

Worlds of clients, failing disks and restarts under virtual time, judged byte by byte. The power is cut at every N-th
device operation (1: at every one). A failure is shrunk, printed as the one line that repeats it, and ends with exit
code 1; wrong arguments end with 2.`;

const values = readOptions();
const jobsMax = Math.max(1, availableParallelism());
const progressMs = 2000;

if (values.help) console.log(usage);
else if (values.replay !== undefined) await replay(values.replay);
else await simulate();

interface Options {
  readonly seeds: string;
  readonly seed: string;
  readonly 'fork-every': string;
  readonly jobs: string;
  readonly replay?: string;
  readonly help: boolean;
}

function readOptions(): Options {
  try {
    return parseArgs({
      options: {
        seeds: { type: 'string', default: '100' },
        seed: { type: 'string', default: '1' },
        'fork-every': { type: 'string', default: '1' },
        jobs: { type: 'string', default: '1' },
        replay: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    refuse(
      `${error instanceof Error ? error.message.split('\n')[0] : String(error)} (--help tells what there is)`,
    );
  }
}

async function replay(text: string): Promise<void> {
  const options = optionsOfReplay(text);
  if (options === undefined) refuse(`--replay is '${text}', expected what a failure printed`);
  try {
    await runWorld(options);
    console.log('this world keeps its promises');
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  }
}

async function simulate(): Promise<void> {
  const startedMs = performance.now();
  const firstSeed = wholeNumber('seed', values.seed);
  const total = emptyOutcome();
  let shownMs = startedMs;
  const failure = await runSeeds({
    firstSeed,
    seeds: wholeNumber('seeds', values.seeds),
    forkEvery: wholeNumber('fork-every', values['fork-every']),
    jobs: Math.min(jobsMax, Math.max(1, wholeNumber('jobs', values.jobs))),
    total,
    onSeed: (done) => {
      if (performance.now() - shownMs < progressMs) return;
      shownMs = performance.now();
      const cuts = total.forks.powerCuts + total.forks.kills;
      const rate = Math.round((cuts * 1000) / (shownMs - startedMs));
      console.log(`${done} worlds, ${cuts} cuts, none of them lost a byte (${rate} a second)`);
    },
  });
  console.log(summaryText(total, (performance.now() - startedMs) / 1000));
  if (failure === undefined) return;
  await explain(failure);
  process.exitCode = 1;
}

async function explain(options: WorldOptions): Promise<void> {
  console.error(`seed ${options.seed} failed; leaving out what it does not need`);
  const failed: FailedWorld | undefined = await failedWorld(options);
  if (failed === undefined) {
    console.error(
      `seed ${options.seed} failed once and not again: something in it is not drawn from the seed`,
    );
    return;
  }
  console.error(failed.error);
  console.error(failed.steps.join('\n'));
  console.error(failed.line);
}

function wholeNumber(name: string, text: string): number {
  if (/^[0-9]{1,9}$/.test(text)) return Number(text);
  refuse(`--${name} is '${text}', expected a whole number`);
}

function refuse(why: string): never {
  console.error(`simulate: ${why}`);
  process.exit(2);
}
