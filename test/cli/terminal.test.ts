import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import process from 'node:process';
import { test } from 'node:test';
import { programPath } from '../../bench/program-path.ts';
import { ExitCode } from '../../src/cli/exit-code.ts';

const program = programPath();

/** `/dev/full` fails every write with ENOSPC, as a full disk does (man 4 full). */
function runInto(
  stream: 'stdout' | 'stderr',
  ...words: readonly string[]
): { code: unknown; errors: string } {
  const full = openSync('/dev/full', 'w');
  try {
    const [output, errors] = stream === 'stdout' ? ([full, 'pipe'] as const) : (['pipe', full] as const);
    const ended = spawnSync(process.execPath, [program, ...words], {
      stdio: ['ignore', output, errors],
      encoding: 'utf8',
    });
    return { code: ended.status, errors: ended.stderr ?? '' };
  } finally {
    closeSync(full);
  }
}

test('an answer that cannot be written is one line and a failure, no trace of a stack', () => {
  const { code, errors } = runInto('stdout', 'help');
  assert.equal(code, ExitCode.failed);
  assert.match(errors, /^dm-remap: standard output: ENOSPC[^\n]*\n$/);
});

test('a complaint that cannot be written keeps its exit code', () => {
  assert.equal(runInto('stderr', 'frobnicate').code, ExitCode.usage);
});
