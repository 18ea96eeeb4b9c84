import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, test } from 'node:test';
import { runOperatorProgram } from '../../../src/cli/watching/run-program.ts';
import { identityOfProcess } from '../../../src/device/process/process-identity.ts';

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

test('a program that fails, cannot be run or reads nothing is an error of one clause', async () => {
  const shell = (text: string): Promise<void> =>
    runOperatorProgram('/bin/sh', ['-c', text], { input: 'x'.repeat(1_000_000) });
  await assert.rejects(shell('echo one >&2; echo "no \u001b[2J mail" >&2; exit 7'), {
    message: 'ended with code 7 (no  [2J mail)',
  });
  await assert.rejects(shell('kill -TERM $$'), /^Error: ended by SIGTERM/);
  await assert.rejects(runOperatorProgram(join(folder, 'none'), []), /cannot be run: .*ENOENT/);
  await shell('exec true');
});

test('a program that hangs is ended with its children, and one that leaves a child behind is not waited for', async () => {
  const path = join(folder, 'child');
  const leaves = runOperatorProgram('/bin/sh', ['-c', 'sleep 60 & echo $! > "$OUT"; exit 3'], {
    environment: { OUT: path },
  });
  await assert.rejects(leaves, /^Error: ended with code 3/);
  assert.ok(isThere(path), 'its child is still there');
  process.kill(Number(readFileSync(path, 'utf8')));
  const hangs = runOperatorProgram('/bin/sh', ['-c', 'sleep 60 & echo $! > "$OUT"; sleep 60'], {
    environment: { OUT: path },
    deadlineMs: 500,
  });
  await assert.rejects(hangs, /^Error: killed, after 0.5 s at the latest/);
  while (isThere(path)) await new Promise((resolve) => setTimeout(resolve, 10));
});

/** Whether the process runs whose id is in the file. */
function isThere(path: string): boolean {
  return identityOfProcess(Number(readFileSync(path, 'utf8'))) !== undefined;
}
