import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatBytes, formatExactBytes } from '../../src/block/byte-text.ts';

test('sizes are printed for people, with a digit behind the point where they are not exact', () => {
  assert.equal(formatBytes(0), '0 bytes');
  assert.equal(formatBytes(1023), '1023 bytes');
  assert.equal(formatBytes(28_311_552), '27 MiB');
  assert.equal(formatBytes(28_311_553), '27.0 MiB');
  assert.equal(formatBytes(Number.MAX_SAFE_INTEGER), '8.0 PiB');
});

test('where the last byte matters it is printed too', () => {
  assert.equal(formatExactBytes(67_108_864), '64 MiB');
  assert.equal(formatExactBytes(1_000_204_886_016), '931.5 GiB (1000204886016 bytes)');
  assert.equal(formatExactBytes(67_108_865), '64.0 MiB (67108865 bytes)');
});
