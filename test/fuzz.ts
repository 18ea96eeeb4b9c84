import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { BlockCoverage } from './fuzz/engine/block-coverage.ts';
import { corpusName, readCorpus, writeCorpus } from './fuzz/engine/corpus-folder.ts';
import { Finding, FuzzRun } from './fuzz/engine/fuzz-run.ts';
import type { FuzzTarget } from './fuzz/engine/fuzz-target.ts';
import { HangWatch } from './fuzz/engine/hang-watch.ts';
import { minimise } from './fuzz/engine/minimise.ts';
import { isTargetName, loadTarget, type TargetName, targetNames } from './fuzz/targets/all-targets.ts';

const usage = `npm run fuzz -- [--target NAME] [--seconds N | --executions N] [--seed S] [--save] [--blind]
npm run fuzz -- --target NAME --replay FILE

Mutates inputs of everything that takes bytes from outside, and keeps those that reach code that none before reached. N is for
each target, one process each; without it 60 seconds. --save writes what was kept to test/fuzz/corpus. --blind goes without
coverage. What fails is made small, written to fuzz-NAME-*.bin and printed with the line that repeats it; the exit code is 1
then. Wrong arguments end with 2. Targets: ${targetNames.join(', ')}`;

interface Options {
  readonly target: TargetName | undefined;
  readonly seconds: number;
  readonly executions: number | undefined;
  readonly seed: string;
  readonly replay: string | undefined;
  readonly save: boolean;
  readonly blind: boolean;
}

const options = readOptions();
if (options === undefined) console.log(usage);
else if (options.target === undefined) await fuzzAll();
else await fuzzOne(options, await loadTarget(options.target));

/** Undefined when help is asked for. */
function readOptions(): Options | undefined {
  try {
    const { values } = parseArgs({
      options: {
        target: { type: 'string' },
        seconds: { type: 'string', default: '60' },
        executions: { type: 'string' },
        seed: { type: 'string', default: '1' },
        replay: { type: 'string' },
        save: { type: 'boolean', default: false },
        blind: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    const { target, seconds, executions, seed, replay, save, blind, help } = values;
    if (help) return undefined;
    for (const [name, value] of Object.entries({ seconds, executions: executions ?? '1' })) {
      if (!/^\d{1,9}$/.test(value)) refuse(`--${name} is '${value}', expected a whole number`);
    }
    if (target !== undefined && !isTargetName(target)) {
      refuse(`--target is '${target}', expected one of ${targetNames.join(', ')}`);
    }
    if (replay !== undefined && target === undefined) refuse('--replay needs --target');
    const count = executions === undefined ? undefined : Number(executions);
    return { target, seconds: Number(seconds), executions: count, seed, replay, save, blind };
  } catch (error) {
    const message = error instanceof Error ? error.message.split('\n')[0] : String(error);
    return refuse(`${message} (--help tells what there is)`);
  }
}

function refuse(message: string): never {
  console.error(`fuzz: ${message}`);
  process.exit(2);
}

/** One after the other, each in a process of its own: what one has loaded or left behind is not seen by the next. */
async function fuzzAll(): Promise<void> {
  for (const name of targetNames) {
    const script = fileURLToPath(import.meta.url);
    const parameters = [...process.execArgv, script, ...process.argv.slice(2), '--target', name];
    const status = await statusOf(spawn(process.execPath, parameters, { stdio: 'inherit' }));
    if (status !== 0) process.exitCode = 1;
  }
}

function statusOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => child.on('close', (status) => resolve(status ?? 1)));
}

async function fuzzOne(chosen: Options, target: FuzzTarget): Promise<void> {
  const hangWatch = new HangWatch(process.cwd());
  if (chosen.replay === undefined) await fuzz(chosen, target, hangWatch);
  else await replay(target, chosen.replay, hangWatch);
  await hangWatch.stop();
}

async function replay(target: FuzzTarget, path: string, hangWatch: HangWatch): Promise<void> {
  const finding = await findingOf(target, readFileSync(path), hangWatch);
  if (finding === undefined) {
    console.log(`${target.name}: nothing is wrong with ${path}`);
    return;
  }
  console.error(finding.message, finding.cause);
  process.exitCode = 1;
}

async function fuzz(chosen: Options, target: FuzzTarget, hangWatch: HangWatch): Promise<void> {
  const coverage = chosen.blind ? undefined : new BlockCoverage();
  const { seed, seconds, executions } = chosen;
  const run = new FuzzRun(target, {
    ...{ seed, coverage, hangWatch, corpus: readCorpus(target.name) },
    goesOn: ({ executions: done, startMs }) =>
      executions === undefined ? performance.now() - startMs < seconds * 1000 : done < executions,
  });
  try {
    await run.run();
  } catch (error) {
    if (!(error instanceof Finding)) throw error;
    await tellFinding(target, error, hangWatch);
  }
  const passedSeconds = (performance.now() - run.startMs) / 1000;
  console.log(
    `${target.name.padEnd(17)} ${run.executions} executions in ${passedSeconds.toFixed(1)} s, ` +
      `${(run.executions / passedSeconds).toFixed(0)} a second; ${coverage?.functions ?? 0} functions reached; ` +
      `${run.kept.length} inputs kept, ${run.inputs.length} in all`,
  );
  coverage?.end();
  if (chosen.save) console.log(`  ${writeCorpus(target.name, run.inputs)} files written to the corpus`);
}

async function tellFinding(target: FuzzTarget, finding: Finding, hangWatch: HangWatch): Promise<void> {
  process.exitCode = 1;
  console.error(finding.message, finding.cause);
  const small = await minimise(finding.input, async (input) => {
    const again = await findingOf(target, input, hangWatch);
    return again !== undefined && kindOf(again) === kindOf(finding);
  });
  const path = `fuzz-${target.name}-${corpusName(small)}.bin`;
  writeFileSync(path, small);
  console.error(`${small.length} bytes; again: npm run fuzz -- --target ${target.name} --replay ${path}`);
}

/** What is wrong with one input, in a session of its own. */
async function findingOf(
  target: FuzzTarget,
  input: Buffer,
  hangWatch: HangWatch,
): Promise<Finding | undefined> {
  const run = new FuzzRun(target, {
    ...{ seed: '', corpus: [], coverage: undefined, hangWatch },
    goesOn: () => false,
  });
  try {
    await run.execute(input);
    await run.end();
    return undefined;
  } catch (error) {
    if (!(error instanceof Finding)) throw error;
    return error;
  }
}

/** Without the numbers, which differ from input to input. */
function kindOf({ message }: Finding): string {
  return message.replace(/\d+/g, 'N');
}
