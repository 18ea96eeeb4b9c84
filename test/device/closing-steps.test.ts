import assert from 'node:assert/strict';
import process from 'node:process';
import { test } from 'node:test';
import { AssertionFailure } from '../../src/block/assert.ts';
import { deviceError } from '../../src/block/device-error.ts';
import { closingDeadlines } from '../../src/device/closing-deadlines.ts';
import { ClosingSequence, type ClosingStep, runClosingSteps } from '../../src/device/closing-steps.ts';
import { HandClock } from './hand-clock.ts';

const isExpected = (error: unknown): boolean => !(error instanceof AssertionFailure);

function step(name: string, run: () => Promise<void>): ClosingStep {
  return { name, deadlineMs: 1_000, run };
}

test('I6 closing steps run in their order, each after the one before has ended', async () => {
  const told: string[] = [];
  const slow = (name: string): ClosingStep =>
    step(name, async () => {
      told.push(`${name} begins`);
      await new Promise((resolve) => setImmediate(resolve));
      told.push(`${name} ends`);
    });
  const clock = new HandClock();
  const outcomes = await runClosingSteps([slow('drain'), slow('flush')], clock, isExpected);
  assert.deepEqual(told, ['drain begins', 'drain ends', 'flush begins', 'flush ends']);
  assert.deepEqual(
    outcomes.map((one) => [one.step, one.result]),
    [
      ['drain', 'done'],
      ['flush', 'done'],
    ],
  );
  assert.equal(clock.waitingCount, 0, 'I24: no timer is left');
});

test('I6 a step that never ends is left at its deadline and the next ones still run', async () => {
  const clock = new HandClock();
  let released = false;
  const closing = runClosingSteps(
    [
      step('drain', () => new Promise<never>(() => {})),
      step('release', async () => {
        released = true;
      }),
    ],
    clock,
    isExpected,
  );
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(released, false);
  clock.advance(999);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(released, false, 'not before the deadline');
  clock.advance(1);
  const outcomes = await closing;
  assert.equal(released, true);
  assert.deepEqual(
    outcomes.map((one) => one.result),
    ['timed-out', 'done'],
  );
  assert.equal(outcomes[0]!.durationMs, 1_000);
});

test('I6 a failing step is told and the next ones still run', async () => {
  const failing = step('flush', () => Promise.reject(deviceError('main', 'path', 0, 512)));
  const outcomes = await runClosingSteps(
    [failing, step('release', async () => {})],
    new HandClock(),
    isExpected,
  );
  assert.deepEqual(
    outcomes.map((one) => one.result),
    ['failed', 'done'],
  );
  assert.match(outcomes[0]!.detail, /main: path error/);
});

test('R35 a bug while closing is not turned into an outcome', async () => {
  const bug = step('flush', () => Promise.reject(new AssertionFailure('broken')));
  await assert.rejects(runClosingSteps([bug], new HandClock(), isExpected), AssertionFailure);
});

test('R35 a bug that shows after its step was given up still ends the process', async () => {
  const clock = new HandClock();
  let fail: (error: Error) => void = () => undefined;
  const late = step(
    'flush',
    () =>
      new Promise((_, reject) => {
        fail = reject;
      }),
  );
  const closing = runClosingSteps([late], clock, isExpected);
  await new Promise((resolve) => setImmediate(resolve));
  clock.advance(1_000);
  assert.equal((await closing)[0]!.result, 'timed-out');
  // The runner of these tests takes an unhandled rejection for a failure: it is caught here, once.
  const unhandled = new Promise((resolve) => {
    const listeners = process.listeners('unhandledRejection');
    process.removeAllListeners('unhandledRejection');
    process.once('unhandledRejection', (error) => {
      for (const listener of listeners) process.on('unhandledRejection', listener);
      resolve(error);
    });
  });
  const bug = new AssertionFailure('late');
  fail(bug);
  assert.equal(await unhandled, bug);
});

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const hung = (name: string): ClosingStep => ({
  name,
  deadlineMs: 10_000,
  hurriedDeadlineMs: 500,
  run: () => new Promise<never>(() => {}),
});

test('I6 whoever loses patience shortens the step that runs, counted from its start, and all behind it', async () => {
  const clock = new HandClock();
  const sequence = new ClosingSequence([hung('export'), hung('flush')], { clock, isExpected });
  const closing = sequence.run();
  clock.advance(300);
  sequence.hurry();
  sequence.hurry();
  await settle();
  clock.advance(199);
  await settle();
  clock.advance(1);
  await settle();
  clock.advance(500);
  const outcomes = await closing;
  assert.deepEqual(
    outcomes.map(({ step, result, durationMs, detail }) => [step, result, durationMs, detail]),
    [
      ['export', 'timed-out', 500, 'no end after 500 ms'],
      ['flush', 'timed-out', 500, 'no end after 500 ms'],
    ],
  );
  assert.equal(clock.waitingCount, 0, 'I24: no timer is left');
});

test('I6 a step that ran past its hurried deadline when somebody lost patience ends at once', async () => {
  const clock = new HandClock();
  const sequence = new ClosingSequence([hung('flush')], { clock, isExpected });
  const closing = sequence.run();
  clock.advance(5_000);
  sequence.hurry();
  clock.advance(0);
  assert.equal((await closing)[0]!.result, 'timed-out');
});

test('R3 hurried, all steps together take less than 6 s whatever hangs; else less than systemd waits', () => {
  const sum = (which: 'deadlineMs' | 'hurriedDeadlineMs'): number =>
    Object.values(closingDeadlines).reduce((total, deadlines) => total + deadlines[which], 0);
  assert.ok(sum('hurriedDeadlineMs') < 6_000, String(sum('hurriedDeadlineMs')));
  assert.ok(sum('deadlineMs') < 90_000, String(sum('deadlineMs')));
});
