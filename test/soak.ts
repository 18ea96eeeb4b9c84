import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { missingTool } from './end-to-end/foreign-tool.ts';
import { soakChart } from './soak/soak-chart.ts';
import { judgeSoak } from './soak/soak-judge.ts';
import { runSoak } from './soak/soak-run.ts';
import { summarize } from './soak/soak-summary.ts';

const minutesMax = 10_000;
const failureLettersMax = 2000;
const usage = `npm run soak -- [--minutes N] [--seed TEXT] [--out DIR]

One device for a long time: fio and writers that know every sector's version, over a main that gets bad sectors or is away for
seconds, with suspend and resume, verify and unremap, SIGKILL or remove, a destroyed replica of the metadata, and assemble;
everything is verified after each. DIR gets soak.jsonl (a line a sample and event), soak.svg, and failure.txt after a
failure. Exit code 1 when a
promise was broken, 2 when it could not run, 130 when it was interrupted. Default: 60 minutes, seed 1, DIR 'soak'.`;

const values = readOptions();
if (values.help) console.log(usage);
else process.exitCode = await soak(minutesOf(values.minutes), values.seed, resolve(values.out));

async function soak(minutes: number, seed: string, folder: string): Promise<number> {
  const missing = missingTool('fio');
  if (missing !== false) refuse(missing);
  mkdirSync(folder, { recursive: true });
  const recordsPath = join(folder, 'soak.jsonl');
  const failurePath = join(folder, 'failure.txt');
  rmSync(failurePath, { force: true });
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());
  const tell = (progress: string): void => console.log(`     ${progress}`);
  try {
    const records = await runSoak({
      seconds: minutes * 60,
      seed,
      recordsPath,
      failurePath,
      signal: interrupted.signal,
      tell,
    });
    writeFileSync(join(folder, 'soak.svg'), soakChart(records));
    const verdict = judgeSoak(records);
    const seen = summarize(records, verdict);
    if (interrupted.signal.aborted) {
      console.log(`interrupted; until then ${seen}`);
      return 130;
    }
    for (const violation of verdict.violations) console.log(`FAIL ${violation}`);
    const word = verdict.violations.length === 0 ? 'ok  ' : 'FAIL';
    console.log(`${word} soak, ${minutes} minutes, seed ${seed}: ${seen}`);
    return verdict.violations.length === 0 ? 0 : 1;
  } catch (error) {
    // A terminal sends SIGINT to the commands that we wait for, too.
    if (interrupted.signal.aborted) {
      console.log(`interrupted: ${oneLine(error)}`);
      return 130;
    }
    console.log(`FAIL soak, --minutes ${minutes} --seed ${seed}: ${oneLine(error)}`);
    return 1;
  }
}

function minutesOf(word: string): number {
  const minutes = Number(word);
  if (!(minutes >= 0.1 && minutes <= minutesMax)) {
    refuse(`--minutes is '${word}', expected a number from 0.1 to ${minutesMax}`);
  }
  return minutes;
}

function readOptions(): { minutes: string; seed: string; out: string; help: boolean } {
  try {
    return parseArgs({
      options: {
        minutes: { type: 'string', default: '60' },
        seed: { type: 'string', default: '1' },
        out: { type: 'string', default: 'soak' },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    refuse(
      `${error instanceof Error ? error.message.split('\n')[0] : String(error)} (--help tells what there is)`,
    );
  }
}

function oneLine(error: unknown): string {
  return String(error).replaceAll(/\s+/g, ' ').slice(0, failureLettersMax);
}

function refuse(why: string): never {
  console.error(`soak: ${why}`);
  process.exit(2);
}
