import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  clientsLeaveMs,
  closingDeadlines,
  removeDrainDeadlineMs,
} from '../../../src/device/closing-deadlines.ts';
import type { ClosingStep } from '../../../src/device/closing-steps.ts';
import { Lifecycle } from '../../../src/device/lifecycle.ts';
import type {
  DeviceTable,
  DiskRequests,
  RemoveReport,
  WaitingRequests,
} from '../../../src/device/messages.ts';
import { Removal } from '../../../src/device/process/removal.ts';
import { SetupError } from '../../../src/device/setup-error.ts';
import type { ServedStack, StackStatus } from '../../../src/device/stack/served-stack.ts';
import { SuspendError, type SuspendOptions } from '../../../src/remap/order/suspension.ts';
import { HandClock } from '../hand-clock.ts';

const stuckWrite = { kind: 'write', offset: 4096, length: 512, ageSeconds: 43, phase: 'at-main' } as const;

/** A device whose clients and disks do what the test says. */
class ScriptedStack implements ServedStack {
  readonly name = 'disk';
  readonly exports: readonly string[] = [];
  readonly notes: readonly string[] = [];
  readonly memory = { memoryLocked: true, requestMemoryBytes: 0 };
  readonly engine = { engine: 'io_uring', engineReason: '' };
  readonly calls: string[] = [];
  connected = 0;
  waiting: WaitingRequests = { count: 0, oldest: [] };
  left: readonly DiskRequests[] = [];
  /** Ends a suspending that is under way. */
  endSuspend: (error?: SuspendError) => void = () => undefined;
  suspendsAtOnce = true;
  hangingStep = '';

  owesFlushFailure = false;

  closingSteps(): readonly ClosingStep[] {
    return (['export', 'flush', 'main'] as const).map((name) => ({
      name,
      ...closingDeadlines[name],
      run: () => {
        this.calls.push(name);
        return this.hangingStep === name ? new Promise<never>(() => {}) : Promise.resolve();
      },
    }));
  }

  clients(): number {
    return this.connected;
  }

  unanswered(): WaitingRequests {
    return this.waiting;
  }

  unansweredByDisk(): readonly DiskRequests[] {
    return this.left;
  }

  suspend(options: SuspendOptions): Promise<void> {
    this.calls.push(`suspend ${options.flush} ${options.deadlineMs}`);
    if (this.suspendsAtOnce) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.endSuspend = (error) => (error === undefined ? resolve() : reject(error));
    });
  }

  resume(): Promise<void> {
    this.calls.push('resume');
    return Promise.resolve();
  }

  leaveClients(): void {
    this.calls.push('leave clients');
  }

  describe(): StackStatus {
    return assert.fail('not asked here');
  }

  table(): DeviceTable {
    return assert.fail('not asked here');
  }

  openFile(): string {
    return assert.fail('not asked here');
  }

  message(): Promise<string> {
    return assert.fail('not asked here');
  }
}

class Bench {
  readonly stack = new ScriptedStack();
  readonly clock = new HandClock();
  readonly lifecycle = new Lifecycle();
  readonly closed: RemoveReport[] = [];
  readonly removal: Removal;

  constructor(state: 'serving' | 'suspended' = 'serving') {
    this.lifecycle.moveTo('serving');
    if (state === 'suspended') this.lifecycle.moveTo('suspended');
    this.removal = new Removal({
      stack: this.stack,
      lifecycle: this.lifecycle,
      clock: this.clock,
      onClosing: (by) => this.stack.calls.push(`closing by ${by}`),
      onClosed: (report) => this.closed.push(report),
    });
  }

  whenIdle(): Promise<RemoveReport> {
    return this.removal.whenIdle('api', (work) => work());
  }

  /** Lets time pass in small steps, with everything that happens in between. */
  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 20) {
      this.clock.advance(Math.min(20, ms - passed));
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

async function refusal(removal: Promise<RemoveReport>): Promise<string> {
  try {
    await removal;
  } catch (error) {
    assert.ok(error instanceof SetupError);
    assert.equal(error.reason, 'busy');
    return error.message;
  }
  return assert.fail('it was removed');
}

test('R30 a device that nobody uses is quiet and flushed first, then closed', async () => {
  const bench = new Bench();
  const report = await bench.whenIdle();
  assert.deepEqual(bench.stack.calls, [
    `suspend true ${removeDrainDeadlineMs}`,
    'closing by api',
    'export',
    'flush',
    'main',
  ]);
  assert.deepEqual(
    report.steps.map(({ result }) => result),
    ['done', 'done', 'done'],
  );
  assert.deepEqual(bench.closed, [report]);
  assert.equal(bench.lifecycle.state, 'removed');
});

test('a device with a client is not removed, and serves on', async () => {
  const bench = new Bench();
  bench.stack.connected = 2;
  const refused = refusal(bench.whenIdle());
  await bench.pass(clientsLeaveMs + 100);
  assert.match(await refused, /^not removed, the device is in use: 2 clients are connected; unmount/);
  assert.deepEqual(bench.stack.calls, [], 'nobody was held up');
  assert.equal(bench.lifecycle.state, 'serving');
});

test('a client that has just said goodbye is given the time to be gone', async () => {
  const bench = new Bench();
  bench.stack.connected = 1;
  const removed = bench.whenIdle();
  await bench.pass(200);
  bench.stack.connected = 0;
  await bench.pass(100);
  assert.equal((await removed).steps.length, 3);
});

test('R30 who suspended the device knows that clients wait: they do not keep it', async () => {
  const bench = new Bench('suspended');
  bench.stack.connected = 1;
  await bench.whenIdle();
  assert.equal(bench.lifecycle.state, 'removed');
});

for (const state of ['serving', 'suspended'] as const) {
  test(`R3 a disk that does not answer refuses the removal of a ${state} device, which says what waits for how long`, async () => {
    const bench = new Bench(state);
    bench.stack.suspendsAtOnce = false;
    bench.stack.waiting = {
      count: 3,
      oldest: [stuckWrite, { ...stuckWrite, ageSeconds: 12 }, { ...stuckWrite, phase: 'flushing' }],
    };
    const refused = refusal(bench.whenIdle());
    await bench.pass(100);
    assert.equal(bench.lifecycle.state, 'removing');
    bench.stack.endSuspend(new SuspendError('SUSPEND_TIMED_OUT', 'not suspended, …'));
    const left = state === 'serving' ? 'serves on' : 'stays suspended';
    assert.equal(
      await refused,
      `not removed, the device ${left}: 3 requests have no answer, the oldest for 43 s (2 at main, 1 flushing); ` +
        'none of it was acknowledged, so no acknowledged data is at risk; "remove --force" ends it all the same',
    );
    assert.equal(bench.lifecycle.state, state);
    assert.deepEqual(bench.closed, []);
  });
}

test('R7 a flush that fails or does not end refuses the removal, and says what is at risk', async () => {
  for (const [code, told] of [
    ['SUSPEND_FLUSH_FAILED', 'its flush failed: EIO; what was written since the last good flush may be lost'],
    [
      'SUSPEND_TIMED_OUT',
      'its flush had no answer for 20 s; what was written since the last good flush may be lost',
    ],
  ] as const) {
    const bench = new Bench();
    bench.stack.suspendsAtOnce = false;
    const refused = refusal(bench.whenIdle());
    await bench.pass(20);
    bench.stack.endSuspend(new SuspendError(code, 'not suspended, its flush failed: EIO'));
    assert.ok((await refused).includes(told), told);
  }
});

test('a device is handed over under its clients: flushed first, then they are left without a word, then it is closed', async () => {
  const bench = new Bench();
  bench.stack.connected = 3;
  const report = await bench.removal.handOver('api', (work) => work());
  assert.deepEqual(bench.stack.calls, [
    `suspend true ${removeDrainDeadlineMs}`,
    'leave clients',
    'closing by api',
    'export',
    'flush',
    'main',
  ]);
  assert.equal(report.steps.length, 3);
  assert.equal(bench.removal.handsOver, true);
});

test('R7 what cannot be made durable is not handed over: nobody would tell the clients later', async () => {
  for (const code of ['SUSPEND_FLUSH_FAILED', 'SUSPEND_TIMED_OUT'] as const) {
    const bench = new Bench();
    bench.stack.connected = 1;
    bench.stack.suspendsAtOnce = false;
    const refused = refusal(bench.removal.handOver('api', (work) => work()));
    await bench.pass(20);
    bench.stack.endSuspend(new SuspendError(code, 'not suspended, its flush failed: EIO'));
    assert.match(await refused, /^not removed, the device serves on: /);
    assert.equal(bench.lifecycle.state, 'serving');
    assert.equal(bench.removal.handsOver, false);
    assert.ok(!bench.stack.calls.includes('leave clients'), 'they are served on');
  }
});

test('R7 clients that have still to hear of a failed flush are not handed over to who knows nothing of it', async () => {
  const bench = new Bench();
  bench.stack.connected = 1;
  bench.stack.owesFlushFailure = true;
  const refused = refusal(bench.removal.handOver('api', (work) => work()));
  await bench.pass(20);
  assert.match(
    await refused,
    /^not removed, the device serves on: a flush has failed, and not all clients have heard/,
  );
  assert.equal(bench.lifecycle.state, 'serving');
  assert.deepEqual(bench.stack.calls, [`suspend true ${removeDrainDeadlineMs}`, 'resume']);
  bench.stack.owesFlushFailure = false;
  await bench.removal.handOver('api', (work) => work());
  assert.ok(bench.stack.calls.includes('leave clients'));
});

test('a signal overtakes a handing over that waits for a disk: clients hear of that end', async () => {
  const bench = new Bench();
  bench.stack.suspendsAtOnce = false;
  const handedOver = bench.removal.handOver('api', (work) => work());
  await bench.pass(20);
  const ended = bench.removal.soon('signal');
  await bench.pass(100);
  assert.equal(await handedOver, await ended);
  assert.ok(!bench.stack.calls.includes('leave clients'));
  bench.stack.endSuspend(new SuspendError('SUSPEND_ENDED', 'late'));
  await bench.pass(20);
});

test('I21 two removals at one time are one, also when it is refused', async () => {
  const bench = new Bench();
  bench.stack.suspendsAtOnce = false;
  const both = [refusal(bench.whenIdle()), refusal(bench.whenIdle())];
  await bench.pass(20);
  bench.stack.endSuspend(new SuspendError('SUSPEND_TIMED_OUT', 'x'));
  const [first, second] = await Promise.all(both);
  assert.equal(first, second);
  assert.equal(bench.stack.calls.length, 1);
  bench.stack.suspendsAtOnce = true;
  assert.equal((await bench.whenIdle()).steps.length, 3, 'a later one tries again');
});

test('R3 force overtakes a removal that waits for a disk: both hear of the end, and what was left behind', async () => {
  const bench = new Bench();
  bench.stack.suspendsAtOnce = false;
  bench.stack.hangingStep = 'flush';
  bench.stack.left = [{ path: '/dev/sdb', requests: 2 }];
  const patient = bench.whenIdle();
  await bench.pass(20);
  const forced = bench.removal.now('force');
  await bench.pass(closingDeadlines.flush.hurriedDeadlineMs + 40);
  const report = await forced;
  assert.equal(await patient, report);
  assert.deepEqual(
    report.steps.map(({ step, result }) => `${step} ${result}`),
    ['export done', 'flush timed-out', 'main done'],
  );
  assert.deepEqual(report.leftBehind, [{ path: '/dev/sdb', requests: 2 }]);
  bench.stack.endSuspend(new SuspendError('SUSPEND_ENDED', 'late'));
  await bench.pass(20);
  assert.equal(bench.closed.length, 1, 'it ended once');
});

test('R3 force shortens a closing that is under way already', async () => {
  const bench = new Bench();
  bench.stack.hangingStep = 'flush';
  const bySignal = bench.removal.soon('signal');
  await bench.pass(3_000);
  assert.deepEqual(bench.closed, [], 'as a rule a flush has longer');
  const forced = bench.removal.now('force');
  await bench.pass(20);
  assert.equal(await forced, await bySignal);
  assert.equal((await forced).steps[1]!.result, 'timed-out');
});

test('a signal waits for no client and for no disk beyond the deadlines', async () => {
  const bench = new Bench();
  bench.stack.connected = 1;
  bench.stack.hangingStep = 'flush';
  const ended = bench.removal.soon('signal');
  await bench.pass(closingDeadlines.flush.deadlineMs + 40);
  assert.equal((await ended).steps[1]!.result, 'timed-out');
  assert.equal(bench.lifecycle.state, 'removed');
});

test('I21 a removal that comes behind another one in turn finds it done', async () => {
  const bench = new Bench();
  let turn: () => void = () => undefined;
  const before = new Promise<void>((resolve) => {
    turn = resolve;
  });
  const waiting = bench.removal.whenIdle('api', (work) => before.then(work));
  await bench.pass(20);
  const forced = await bench.removal.now('force');
  turn();
  assert.equal(await waiting, forced);
  assert.equal(bench.closed.length, 1);
});
