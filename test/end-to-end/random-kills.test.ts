import { test } from 'node:test';
import { randomKills } from '../acceptance/random-kills.ts';
import { missingForWornLab } from '../acceptance/worn-lab.ts';

/** The full number is `npm run accept`. */
const rounds = 4;
const skip = missingForWornLab('fio');

test('I12 I25 killed at chance moments under fio while sectors wear out, all is verified and a lost replica rewritten', {
  skip,
}, async (context) => {
  context.diagnostic(await randomKills({ rounds, seed: 'random-kills' }));
});
