import { parseArgs } from 'node:util';
import { World } from '../src/simulator/world.ts';

/**
 * `npm run simulate -- [--seeds N] [--seed S] [--clients N] [--kill]`: worlds with the power cut at every device operation. A failure prints the
 * one line that repeats it, and ends with exit code 1.
 */
const clientOperations = 40;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    'cut-at': { type: 'string' },
    clients: { type: 'string', default: '1' },
    kill: { type: 'boolean', default: false },
  },
});
const firstSeed = wholeNumber('seed', values.seed);
const seeds = wholeNumber('seeds', values['cut-at'] === undefined ? values.seeds : '1');
const clients = wholeNumber('clients', values.clients);
const totals = { worlds: 0, cuts: 0, operations: 0, remaps: 0 };

for (let seed = firstSeed; seed < firstSeed + seeds; seed += 1) {
  await cutEverywhere(seed);
  console.log(`seed ${seed}: ${totals.cuts} cuts so far, none of them lost a byte`);
}
console.log(
  `${totals.worlds} worlds, ${totals.cuts} cuts, ${totals.operations} device operations, ${totals.remaps} remaps`,
);

async function cutEverywhere(seed: number): Promise<void> {
  const only = values['cut-at'];
  if (only !== undefined) return await runOne(seed, wholeNumber('cut-at', only)).then(() => undefined);
  const operations = await runOne(seed, undefined);
  for (let cutAt = 1; cutAt <= operations; cutAt += 1) await runOne(seed, cutAt);
}

async function runOne(seed: number, cutAt: number | undefined): Promise<number> {
  const cutKind = values.kill ? 'kill' : 'power';
  try {
    const world = new World({
      seed,
      clientOperations,
      clients,
      cutKind,
      ...(cutAt === undefined ? {} : { cutAt }),
    });
    const outcome = await world.run();
    totals.worlds += 1;
    totals.cuts += outcome.cut ? 1 : 0;
    totals.operations += outcome.deviceOperations;
    totals.remaps += outcome.remappedGranules;
    return outcome.deviceOperations;
  } catch (error) {
    const cut =
      cutAt === undefined ? '' : ` --cut-at ${cutAt} --clients ${clients}${values.kill ? ' --kill' : ''}`;
    console.error(error);
    console.error(
      `to repeat it: npm run simulate -- --seed ${seed}${cut === '' ? ` --seeds 1 --clients ${clients}` : cut}`,
    );
    process.exit(1);
  }
}

function wholeNumber(name: string, text: string): number {
  if (/^[0-9]{1,9}$/.test(text)) return Number(text);
  console.error(`simulate: --${name} is '${text}', expected a whole number`);
  process.exit(2);
}
