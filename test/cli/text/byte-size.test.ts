import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatBytes, parseBytes } from '../../../src/cli/text/byte-size.ts';

test('sizes are read with binary units', () => {
  assert.equal(parseBytes('64M'), 67_108_864);
  assert.equal(parseBytes('1GiB'), 1_073_741_824);
  assert.equal(parseBytes('512'), 512);
});

test('what is no size is not guessed at', () => {
  for (const text of ['', '0', '-1', '1.5G', '1 G', '64MB', 'G', '64m', '9'.repeat(17), '9999999T']) {
    assert.equal(parseBytes(text), undefined, text);
  }
});

test('every whole number of bytes is read back', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), (bytes) => {
      assert.equal(parseBytes(String(bytes)), bytes);
    }),
  );
});

test('sizes are printed for people', () => {
  assert.equal(formatBytes(0), '0 bytes');
  assert.equal(formatBytes(1023), '1023 bytes');
  assert.equal(formatBytes(28_311_552), '27.0 MiB');
  assert.equal(formatBytes(Number.MAX_SAFE_INTEGER), '8.0 PiB');
});
