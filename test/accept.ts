import { parseArgs } from 'node:util';
import { type Scenario, scenarios } from './acceptance/scenarios.ts';

/** Of what is printed of an error: some hold all that a program said. */
const failureLettersMax = 2000;
const names = scenarios.map(({ name }) => name);
const usage = `npm run accept -- [--only NAME]... [--seed N]

Real file systems, fio and SIGKILL over disks that wear out, at full size: see docs/testing.md. Each prints one line; exit
code 1 when a promise was broken, 2 when it could not run. Needs root, /dev/fuse and loop devices. Together they take about
an hour.

Names: ${names.join(' ')}`;

const values = readOptions();
if (values.help) console.log(usage);
else process.exitCode = await accept(chosen(values.only), values.seed);

interface Options {
  readonly only: readonly string[];
  readonly seed: string;
  readonly help: boolean;
}

function readOptions(): Options {
  try {
    return parseArgs({
      options: {
        only: { type: 'string', multiple: true, default: [] },
        seed: { type: 'string', default: '1' },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    refuse(
      `${error instanceof Error ? error.message.split('\n')[0] : String(error)} (--help tells what there is)`,
    );
  }
}

function chosen(only: readonly string[]): readonly Scenario[] {
  const unknown = only.find((name) => !names.includes(name));
  if (unknown !== undefined) refuse(`--only is '${unknown}', expected one of ${names.join(' ')}`);
  return only.length === 0 ? scenarios : scenarios.filter(({ name }) => only.includes(name));
}

async function accept(run: readonly Scenario[], seed: string): Promise<number> {
  const missing = run.map((scenario) => scenario.missing).find((what) => what !== false);
  if (missing !== undefined) refuse(missing);
  let failed = 0;
  for (const scenario of run) {
    const startMs = performance.now();
    const seconds = (): string => `${((performance.now() - startMs) / 1000).toFixed(0)} s`;
    try {
      const tell = (progress: string): void =>
        console.log(`     ${scenario.name}: ${progress}, ${seconds()}`);
      const seen = await scenario.run(`${scenario.name} ${seed}`, tell);
      console.log(`ok   ${scenario.name} (${seconds()}): ${seen}`);
    } catch (error) {
      failed += 1;
      console.log(
        `FAIL ${scenario.name} (${seconds()}), --only ${scenario.name} --seed ${seed}: ${oneLine(error)}`,
      );
    }
  }
  return failed === 0 ? 0 : 1;
}

function oneLine(error: unknown): string {
  return String(error).replaceAll(/\s+/g, ' ').slice(0, failureLettersMax);
}

function refuse(why: string): never {
  console.error(`accept: ${why}`);
  process.exit(2);
}
