import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeyReader } from '../../../src/cli/top/keys.ts';

const sent = 'q\u001b[Cp\u001bOA \u001b[1;5Cx\u001b\u001b[D\t\u001bq\u001b[3~\u0003\u001a';
const meant = ['quit', 'next', 'pause', 'previous', 'pause', 'previous', 'next', 'quit', 'quit', 'stop'];

test('keys are understood in whatever pieces a terminal sends them', () => {
  assert.deepEqual(new KeyReader().read(sent), meant);
  const slow = new KeyReader();
  assert.deepEqual(
    sent.split('').flatMap((letter) => slow.read(letter)),
    meant,
  );
  for (let cut = 0; cut <= sent.length; cut += 1) {
    const reader = new KeyReader();
    assert.deepEqual(
      [...reader.read(sent.slice(0, cut)), ...reader.read(sent.slice(cut))],
      meant,
      `cut at ${cut}`,
    );
  }
});

test('a sequence without an end is given up', () => {
  const reader = new KeyReader();
  assert.deepEqual(reader.read(`\u001b[${'1;'.repeat(50)}`), []);
  assert.deepEqual(reader.read('q'), ['quit']);
});
