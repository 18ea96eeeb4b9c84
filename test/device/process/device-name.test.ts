import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { deviceNameLengthMax, invalidDeviceName } from '../../../src/device/process/device-name.ts';

test('names of letters, digits, dots, dashes and underscores are good', () => {
  for (const name of ['a', 'disk0', 'old-disk.2', '_x', 'x'.repeat(deviceNameLengthMax)]) {
    assert.equal(invalidDeviceName(name), undefined, name);
  }
});

test('a name that could leave its folder, be hidden, or be an option is refused', () => {
  for (const name of [
    '',
    '.',
    '..',
    '.a',
    '-a',
    'a/b',
    'a b',
    'a\n',
    'ä',
    'x'.repeat(deviceNameLengthMax + 1),
  ]) {
    assert.notEqual(invalidDeviceName(name), undefined, JSON.stringify(name));
  }
});

test('whatever is accepted is one plain path component', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 80 }), (name) => {
      if (invalidDeviceName(name) !== undefined) return;
      assert.match(name, /^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/);
    }),
  );
});
