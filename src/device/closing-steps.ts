import type { Clock } from '../block/clock.ts';
import type { StepOutcome } from './messages.ts';

/** One step of closing: its deadlines are a row of `closing-deadlines.ts`. */
export interface ClosingStep {
  readonly name: string;
  /** The step may take this long, then the next one begins whatever this one does (I6). */
  readonly deadlineMs: number;
  /** The same when nobody is to wait any longer (`remove --force`). Default: `deadlineMs`. */
  readonly hurriedDeadlineMs?: number;
  /** `allowedMs` is the deadline that holds at its start. */
  run(allowedMs: number): Promise<void>;
}

/** How a sequence of steps is run. */
export interface ClosingOptions {
  readonly clock: Clock;
  /** Tells the world's errors from bugs of ours; a bug rejects the whole and must end the process. */
  readonly isExpected: (error: unknown) => boolean;
}

/** Runs every step in order, whatever the ones before did: a flush that fails must not keep the disks open. */
export function runClosingSteps(
  steps: readonly ClosingStep[],
  clock: Clock,
  isExpected: (error: unknown) => boolean,
): Promise<StepOutcome[]> {
  return new ClosingSequence(steps, { clock, isExpected }).run();
}

/** As `runClosingSteps`, for whoever may lose patience on the way. */
export class ClosingSequence {
  readonly #steps: readonly ClosingStep[];
  readonly #options: ClosingOptions;
  #hurried = false;
  /** Puts the hurried deadline in place of that of the step that runs. */
  #shorten: () => void = () => undefined;

  constructor(steps: readonly ClosingStep[], options: ClosingOptions) {
    this.#steps = steps;
    this.#options = options;
  }

  /** From now on the hurried deadlines hold, for the step that runs too, counted from its start. */
  hurry(): void {
    if (this.#hurried) return;
    this.#hurried = true;
    this.#shorten();
  }

  async run(): Promise<StepOutcome[]> {
    const outcomes: StepOutcome[] = [];
    for (const step of this.#steps) outcomes.push(await this.#runStep(step));
    return outcomes;
  }

  async #runStep(step: ClosingStep): Promise<StepOutcome> {
    const { clock, isExpected } = this.#options;
    const startMs = clock.nowMs();
    const outcome = (result: StepOutcome['result'], detail: string): StepOutcome => ({
      step: step.name,
      result,
      durationMs: Math.round(clock.nowMs() - startMs),
      detail,
    });
    const deadline = this.#deadlineOf(step, startMs);
    try {
      const running = step.run(this.#allowedMs(step));
      const allowedMs = await Promise.race([running, deadline.passed]);
      if (typeof allowedMs !== 'number') return outcome('done', '');
      // Its outcome is told; what it says later matters only when it is a bug, and that must not be lost.
      void running.catch((error: unknown) => {
        if (!isExpected(error)) throw error;
      });
      return outcome('timed-out', `no end after ${allowedMs} ms`);
    } catch (error) {
      if (!isExpected(error)) throw error;
      return outcome('failed', error instanceof Error ? error.message : String(error));
    } finally {
      deadline.cancel();
    }
  }

  #allowedMs(step: ClosingStep): number {
    return this.#hurried ? hurriedMsOf(step) : step.deadlineMs;
  }

  #deadlineOf(step: ClosingStep, startMs: number): { passed: Promise<number>; cancel: () => void } {
    const { clock } = this.#options;
    let timer: { cancel(): void } | undefined;
    const passed = new Promise<number>((resolve) => {
      const arm = (allowedMs: number): void => {
        timer?.cancel();
        timer = clock.schedule(Math.max(0, startMs + allowedMs - clock.nowMs()), () => resolve(allowedMs));
      };
      arm(this.#allowedMs(step));
      this.#shorten = () => arm(hurriedMsOf(step));
    });
    const cancel = (): void => {
      timer?.cancel();
      this.#shorten = () => undefined;
    };
    return { passed, cancel };
  }
}

function hurriedMsOf(step: ClosingStep): number {
  return Math.min(step.deadlineMs, step.hurriedDeadlineMs ?? step.deadlineMs);
}
