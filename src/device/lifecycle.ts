import { assert } from '../block/assert.ts';
import type { Clock } from '../block/clock.ts';
import type { LifecycleState, StepOutcome } from './messages.ts';

/**
 *                   suspended ────┐
 *                       ▲ │        │
 *                       │ ▼        ▼
 *     starting ──► serving ──► removing ──► removed
 *        │            │            ▲
 *        │            └──► failed  │
 *        ├─────────────────────────┘  a signal while starting
 *        └──► failed                  start-up was refused; everything opened so far is closed
 */
const arrows: Readonly<Record<LifecycleState, readonly LifecycleState[]>> = {
  starting: ['serving', 'removing', 'failed'],
  serving: ['suspended', 'removing', 'failed'],
  suspended: ['serving', 'removing', 'failed'],
  removing: ['removed'],
  removed: [],
  failed: [],
};

/** The state of one device's process. A move without an arrow is a bug. */
export class Lifecycle {
  #state: LifecycleState = 'starting';

  get state(): LifecycleState {
    return this.#state;
  }

  canMoveTo(next: LifecycleState): boolean {
    return arrows[this.#state].includes(next);
  }

  moveTo(next: LifecycleState): void {
    assert(this.canMoveTo(next), `Lifecycle: no way from ${this.#state} to ${next}`);
    this.#state = next;
  }
}

/** One step of closing. It may take `deadlineMs`, then the next one begins whatever this one does (I6). */
export interface ClosingStep {
  readonly name: string;
  readonly deadlineMs: number;
  run(): Promise<void>;
}

/**
 * Runs every step in order, whatever the ones before did: a flush that fails must not keep the disks open.
 * `isExpected` tells the world's errors from bugs of ours; a bug rejects the whole and must end the process.
 */
export async function runClosingSteps(
  steps: readonly ClosingStep[],
  clock: Clock,
  isExpected: (error: unknown) => boolean,
): Promise<StepOutcome[]> {
  const outcomes: StepOutcome[] = [];
  for (const step of steps) outcomes.push(await runStep(step, clock, isExpected));
  return outcomes;
}

async function runStep(
  step: ClosingStep,
  clock: Clock,
  isExpected: (error: unknown) => boolean,
): Promise<StepOutcome> {
  const startMs = clock.nowMs();
  const outcome = (result: StepOutcome['result'], detail: string): StepOutcome => ({
    step: step.name,
    result,
    durationMs: Math.round(clock.nowMs() - startMs),
    detail,
  });
  let timer: { cancel(): void } | undefined;
  const deadline = new Promise<'timed-out'>((resolve) => {
    timer = clock.schedule(step.deadlineMs, () => resolve('timed-out'));
  });
  try {
    const running = step.run();
    const first = await Promise.race([running, deadline]);
    if (first !== 'timed-out') return outcome('done', '');
    // Its outcome is told; what it says later matters only when it is a bug, and that must not be lost.
    void running.catch((error: unknown) => {
      if (!isExpected(error)) throw error;
    });
    return outcome('timed-out', `no end after ${step.deadlineMs} ms`);
  } catch (error) {
    if (!isExpected(error)) throw error;
    return outcome('failed', error instanceof Error ? error.message : String(error));
  } finally {
    timer?.cancel();
  }
}
