import { availableParallelism } from 'node:os';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { runWorld, type WorldOptions } from '../src/simulator/world/world.ts';
import { emptyOutcome } from '../src/simulator/world/world-outcome.ts';
import { type FailedWorld, failedWorld, optionsOfReplay } from './simulator/failed-world.ts';
import { nightOf } from './simulator/night.ts';
import { runSeeds } from './simulator/seed-jobs.ts';
import { nothingReached, statesAsked } from './simulator/states/states-reached.ts';
import { statesLine, statesText } from './simulator/states/states-text.ts';
import { summaryText } from './simulator/summary-text.ts';

const usage = `npm run simulate -- [--seeds N] [--seed S] [--minutes M] [--fork-every N] [--jobs N|all] [--states]
npm run simulate:nightly -- [--minutes M] [--date YYYY-MM-DD] [--fork-every N]
npm run simulate -- --replay '{"seed":S,...}'

Worlds of clients, failing disks and restarts under virtual time, judged byte by byte. The power is cut at every N-th
device operation (1: at every one). Ends behind N seeds, or with the first world behind M minutes. --states lists how often
each row of the event table and each rule was reached. A failure is shrunk, printed as the one line that repeats it, and ends
with exit code 1; wrong arguments end with 2.

Nightly: all cores, 60 minutes, seeds of this date (UTC) that no other date has; --date runs those of another one.`;

const values = readOptions();
const coreCount = Math.max(1, availableParallelism());
const progressMs = 2000;
/** Nobody reads the log of a night while it is written. */
const nightlyProgressMs = 60_000;
const nightlyMinutes = '60';

if (values.help) console.log(usage);
else if (values.replay !== undefined) await replay(values.replay);
else await simulate();

interface Options {
  readonly seeds?: string;
  readonly seed?: string;
  readonly 'fork-every': string;
  readonly jobs?: string;
  readonly minutes?: string;
  readonly nightly: boolean;
  readonly date?: string;
  readonly states: boolean;
  readonly replay?: string;
  readonly help: boolean;
}

function readOptions(): Options {
  try {
    return parseArgs({
      options: {
        seeds: { type: 'string' },
        seed: { type: 'string' },
        'fork-every': { type: 'string', default: '1' },
        jobs: { type: 'string' },
        minutes: { type: 'string' },
        nightly: { type: 'boolean', default: false },
        date: { type: 'string' },
        states: { type: 'boolean', default: false },
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
  const { firstSeed, seeds } = seedsAsked();
  const minutes = values.minutes ?? (values.nightly ? nightlyMinutes : undefined);
  const endMs = minutes === undefined ? Number.POSITIVE_INFINITY : wholeNumber('minutes', minutes) * 60_000;
  const total = emptyOutcome();
  const asked = statesAsked();
  const reached = nothingReached(asked);
  let shownMs = startedMs;
  let worlds = 0;
  const failure = await runSeeds({
    firstSeed,
    seeds,
    forkEvery: wholeNumber('fork-every', values['fork-every']),
    jobs: jobsAsked(),
    total,
    reached,
    onSeed: (done) => {
      worlds = done;
      const nowMs = performance.now();
      if (nowMs - shownMs >= (values.nightly ? nightlyProgressMs : progressMs)) {
        shownMs = nowMs;
        const cuts = total.forks.powerCuts + total.forks.kills;
        const rate = Math.round((cuts * 1000) / (nowMs - startedMs));
        console.log(`${done} worlds, ${cuts} cuts, none of them lost a byte (${rate} a second)`);
      }
      return nowMs - startedMs < endMs;
    },
  });
  const { user, system } = process.cpuUsage();
  console.log(summaryText(total, (performance.now() - startedMs) / 1000, (user + system) / 1e6));
  console.log(values.states ? statesText(asked, reached, worlds) : statesLine(asked, reached));
  if (failure === undefined) return;
  await explain(failure);
  process.exitCode = 1;
}

/** With an end by the clock there are as many seeds as it takes. */
function seedsAsked(): { firstSeed: number; seeds: number } {
  if (values.nightly) {
    if (values.seed !== undefined || values.seeds !== undefined)
      refuse('--nightly draws its seeds from the date: leave --seed and --seeds out');
    const night = nightOf(values.date ?? new Date().toISOString().slice(0, 10));
    if (night === undefined) refuse(`--date is '${values.date}', expected a day from 2026-01-01 on`);
    console.log(`night of ${night.date}: ${night.seeds} seeds from ${night.firstSeed} on, ${coreCount} jobs`);
    return night;
  }
  if (values.date !== undefined) refuse('--date is for --nightly');
  const firstSeed = wholeNumber('seed', values.seed ?? '1');
  const seedsDefault = values.minutes === undefined ? '100' : '999999999';
  return { firstSeed, seeds: wholeNumber('seeds', values.seeds ?? seedsDefault) };
}

function jobsAsked(): number {
  const jobs = values.jobs ?? (values.nightly ? 'all' : '1');
  return jobs === 'all' ? coreCount : Math.min(coreCount, Math.max(1, wholeNumber('jobs', jobs)));
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
