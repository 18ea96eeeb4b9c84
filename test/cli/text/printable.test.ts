import assert from 'node:assert/strict';
import { test } from 'node:test';
import { printable } from '../../../src/cli/text/printable.ts';

test('what a terminal obeys is printed as its number', () => {
  assert.equal(printable('a \u001b[2Jb\u009b0m\r\u007f'), 'a \\u001b[2Jb\\u009b0m\\u000d\\u007f');
});

test('lines, tabs and letters stay as they are', () => {
  const text = 'SPARE\tSTATE\nGerät \u{1f4be}\n';
  assert.equal(printable(text), text);
});

test('JSON stays the same value', () => {
  const value = { serial: 'S\u009b\u007f\u0001' };
  assert.deepEqual(JSON.parse(printable(JSON.stringify(value))), value);
});
