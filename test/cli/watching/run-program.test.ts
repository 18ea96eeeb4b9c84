import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { runOperatorProgram } from '../../../src/cli/watching/run-program.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dm-remap-program-'));
});

afterEach(() => rmSync(folder, { recursive: true }));

test('a program gets its words without a shell, its input and its environment', async () => {
  const path = join(folder, 'said');
  await runOperatorProgram('/bin/sh', ['-c', 'cat > "$OUT"; echo "$1" >> "$OUT"', 'x', '$(touch nothing)'], {
    input: 'hello\n',
    environment: { OUT: path },
  });
  assert.equal(readFileSync(path, 'utf8'), 'hello\n$(touch nothing)\n');
});

test('a program that fails, cannot be run, reads nothing or hangs is an error of one clause', async () => {
  const shell = (text: string, deadlineMs?: number): Promise<void> =>
    runOperatorProgram('/bin/sh', ['-c', text], {
      input: 'x'.repeat(1_000_000),
      ...(deadlineMs === undefined ? {} : { deadlineMs }),
    });
  await assert.rejects(shell('echo one >&2; echo "no \u001b[2J mail" >&2; exit 7'), {
    message: 'ended with code 7 (no [2J mail)'.replace('no ', 'no  '),
  });
  await assert.rejects(shell('kill -TERM $$'), /^Error: ended by SIGTERM/);
  await assert.rejects(runOperatorProgram(join(folder, 'none'), []), /cannot be run: .*ENOENT/);
  await shell('exec true');
  // Its child keeps the standard error open; nobody waits for that one.
  await assert.rejects(shell('sleep 30 & sleep 30', 200), /^Error: killed, after 0.2 s at the latest/);
});
