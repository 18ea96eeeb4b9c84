import { test } from 'node:test';
import { fioOverWear } from '../acceptance/fio-over-wear.ts';
import { missingForWornLab } from '../acceptance/worn-lab.ts';

const mebibyte = 1024 * 1024;
const skip = missingForWornLab('fio');

for (const [blockBytes, usedBytes] of [
  [512, 6 * mebibyte],
  [4096, 32 * mebibyte],
] as const) {
  test(`I17 I20 fio verifies every block of ${blockBytes} bytes that it wrote while sectors wore out under it`, {
    skip,
  }, async (context) => {
    context.diagnostic(
      await fioOverWear({ seed: `fio-over-wear ${blockBytes}`, blockBytes, usedBytes, wornMax: 600 }),
    );
  });
}
