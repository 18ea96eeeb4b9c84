import assert from 'node:assert/strict';
import { test } from 'node:test';
import { durationText } from '../../../src/cli/text/duration-text.ts';

test('durations are told in the unit in which they have one to three digits before the point', () => {
  const texts = [
    [0, '0 µs'],
    [0.00008, '80 µs'],
    [0.0009994, '999 µs'],
    [0.0009996, '1.0 ms'],
    [0.00128, '1.3 ms'],
    [0.0268, '27 ms'],
    [0.9994, '999 ms'],
    [0.9996, '1.0 s'],
    [4.21, '4.2 s'],
    [134.2, '134 s'],
  ] as const;
  for (const [seconds, text] of texts) assert.equal(durationText(seconds), text);
});
