import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fitted } from '../../src/cli/watch-status.ts';

test('what is drawn fits the screen: no line wraps, the last line is left to the cursor', () => {
  const lines = fitted('one\ntwo two\nthree', { columns: 5, rows: 10 });
  assert.deepEqual(lines, ['one', 'two …', 'three']);
  assert.deepEqual(fitted('a\nb\nc\nd', { columns: 5, rows: 4 }), ['a', 'b', '…']);
  assert.deepEqual(fitted('a\nb\nc', { columns: 5, rows: 4 }), ['a', 'b', 'c']);
  assert.deepEqual(fitted('a\nb', { columns: 1, rows: 1 }), ['…']);
});

test('nothing in a name or a path is a command to the terminal', () => {
  assert.deepEqual(fitted('disk\u001b[2J', { columns: 80, rows: 24 }), ['disk [2J']);
});
