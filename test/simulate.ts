import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { runWorld } from '../src/simulator/world.ts';
import { addOutcome, emptyOutcome } from '../src/simulator/world-outcome.ts';
import { summaryText } from './simulator/summary-text.ts';

/**
 * `npm run simulate -- [--seeds N] [--seed S] [--fork-every N]`: worlds with the power cut at every device operation.
 * A failure prints the one line that repeats it, and ends with exit code 1.
 */
const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    'fork-every': { type: 'string', default: '1' },
  },
});
const firstSeed = wholeNumber('seed', values.seed);
const seeds = wholeNumber('seeds', values.seeds);
const forkEvery = wholeNumber('fork-every', values['fork-every']);
const sum = emptyOutcome();
const startedMs = performance.now();

for (let seed = firstSeed; seed < firstSeed + seeds; seed += 1) {
  try {
    addOutcome(sum, await runWorld({ seed, forkEvery }));
  } catch (error) {
    console.error(error);
    console.error(`to repeat it: npm run simulate -- --seeds 1 --seed ${seed} --fork-every ${forkEvery}`);
    process.exitCode = 1;
    break;
  }
  if ((seed - firstSeed) % 10 === 9) {
    console.log(`seed ${seed}: ${sum.forks.powerCuts} power cuts so far, none of them lost a byte`);
  }
}
console.log(summaryText(sum, (performance.now() - startedMs) / 1000));

function wholeNumber(name: string, text: string): number {
  if (/^[0-9]{1,9}$/.test(text)) return Number(text);
  console.error(`simulate: --${name} is '${text}', expected a whole number`);
  process.exit(2);
}
