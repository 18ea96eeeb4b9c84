import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { AssertionFailure } from '../../src/block/assert.ts';
import { ExitCode } from '../../src/cli/exit-code.ts';
import { failureOf, LaunchError } from '../../src/cli/failure.ts';
import { ControlError } from '../../src/control/client.ts';
import { SetupError, type SetupReason } from '../../src/device/setup-error.ts';

test('each reason has its documented exit code', () => {
  const codes: Record<SetupReason, ExitCode> = {
    failed: 1,
    usage: 2,
    'not-found': 3,
    refused: 4,
    busy: 5,
    'not-a-spare': 6,
  };
  for (const [reason, exitCode] of Object.entries(codes)) {
    assert.deepEqual(failureOf(new SetupError(reason as SetupReason, 'x: why')), {
      exitCode,
      message: 'x: why',
    });
  }
});

test('a device that could not be asked is a failure, a message it does not know a wrong command', () => {
  assert.equal(failureOf(new ControlError('NOBODY', 'x')).exitCode, ExitCode.failed);
  assert.equal(failureOf(new ControlError('BAD_MESSAGE', 'x')).exitCode, ExitCode.usage);
  assert.equal(failureOf(new ControlError('UNSAFE', 'x')).exitCode, ExitCode.refused);
});

test('the reason of a process that did not start is passed on as it is', () => {
  assert.deepEqual(failureOf(new LaunchError(6, 'no spare')), { exitCode: 6, message: 'no spare' });
});

test('an error of the kernel is a failure, anything nobody expected a bug', () => {
  let refusal: unknown;
  try {
    readFileSync('/does/not/exist');
  } catch (error) {
    refusal = error;
  }
  assert.equal(failureOf(refusal).exitCode, ExitCode.failed);
  for (const bug of [new TypeError('x'), new AssertionFailure('x'), 'text', undefined]) {
    assert.equal(failureOf(bug).exitCode, ExitCode.bug);
  }
});

test('whatever the error says, it becomes one bounded line without control characters', () => {
  const { message } = failureOf(new SetupError('failed', `a\nb\u001b[31m${'x'.repeat(5_000)}`));
  assert.match(message, /^a b \[31mx+…$/);
  assert.ok(message.length < 1_100);
});
