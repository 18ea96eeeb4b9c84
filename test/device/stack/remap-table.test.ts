import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SetupError } from '../../../src/device/setup-error.ts';
import { formatRemapTable, parseRemapTable } from '../../../src/device/stack/remap-table.ts';

test('the line of a remap device names size, main and spare', () => {
  assert.deepEqual(parseRemapTable('0 2048 remap /dev/sdb /dev/sdc1'), {
    lengthBytes: 1_048_576,
    mainPath: '/dev/sdb',
    sparePath: '/dev/sdc1',
  });
});

test('every line that is printed is read back, blanks in paths too', () => {
  const path = fc.string({ minLength: 1 }).filter((text) => !text.includes('\n'));
  fc.assert(
    fc.property(path, path, fc.integer({ min: 1, max: 2 ** 33 }), (mainPath, sparePath, sectors) => {
      const table = { mainPath, sparePath, lengthBytes: sectors * 512 };
      assert.deepEqual(parseRemapTable(formatRemapTable(table)), table);
    }),
  );
});

test('anything else is a wrong command, with what was expected', () => {
  for (const text of [
    '',
    '0 8 remap a',
    '0 8 remap a b c',
    '8 8 remap a b',
    '0 0 remap a b',
    '0 8 linear a b',
  ]) {
    assert.throws(() => parseRemapTable(text), SetupError, text);
  }
  assert.throws(() => parseRemapTable('0 8 remap a b\n8 8 remap c d'), /2 lines, expected one/);
});
