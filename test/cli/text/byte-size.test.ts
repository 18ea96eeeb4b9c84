import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseBytes } from '../../../src/cli/text/byte-size.ts';

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
