import type { ClosingStep } from './closing-steps.ts';

/** Milliseconds that one step of closing may take: as a rule, and when somebody said `--force`. */
interface StepDeadlines {
  readonly deadlineMs: number;
  readonly hurriedDeadlineMs: number;
}

export type ClosingStepName =
  | 'replacement'
  | 'export'
  | 'raw view'
  | 'flush'
  | 'heartbeat'
  | 'stamp'
  | 'remap'
  | 'main'
  | 'spare'
  | 'engine'
  | 'host state';

/**
 * Every step of closing a device, in its order (I6). A drive's own error recovery is 7 s where it has a limit at all. The sum
 * is 89 s, below the 90 s after which systemd kills a unit that does not stop; in a hurry it is below 6 s.
 */
export const closingDeadlines: Readonly<Record<ClosingStepName, StepDeadlines>> = {
  /** A spare that is being replaced: copying ends at once, what has begun to take effect comes to its end. */
  replacement: { deadlineMs: 7_000, hurriedDeadlineMs: 100 },
  /** Clients get their last answers, then their connections are closed. */
  export: { deadlineMs: 10_000, hurriedDeadlineMs: 2_500 },
  /** Main beside the device, read-only (R29). */
  'raw view': { deadlineMs: 2_000, hurriedDeadlineMs: 100 },
  /** What was acknowledged becomes durable on both disks. */
  flush: { deadlineMs: 25_000, hurriedDeadlineMs: 1_000 },
  /** One more sign of life, or the end of a repair of a replica. */
  heartbeat: { deadlineMs: 5_000, hurriedDeadlineMs: 250 },
  /** Above what reading the samples may take. */
  stamp: { deadlineMs: 7_000, hurriedDeadlineMs: 250 },
  /** The last record, and the marks of a clean end. */
  remap: { deadlineMs: 15_000, hurriedDeadlineMs: 500 },
  main: { deadlineMs: 5_000, hurriedDeadlineMs: 250 },
  spare: { deadlineMs: 5_000, hurriedDeadlineMs: 250 },
  engine: { deadlineMs: 3_000, hurriedDeadlineMs: 250 },
  /** Two small files, or 10 MB of a very large table. */
  'host state': { deadlineMs: 5_000, hurriedDeadlineMs: 500 },
};

export function closingStep(name: ClosingStepName, run: (allowedMs: number) => Promise<void>): ClosingStep {
  return { name, ...closingDeadlines[name], run };
}

/**
 * How long `remove` without `--force` waits until every request has its answer and both disks are flushed, before it gives up
 * and the device serves on: longer than a request waits for a disk that is away (R17: 15 s).
 */
export const removeDrainDeadlineMs = 20_000;

/** A client that has just said goodbye may still be counted: before `remove` calls a device busy it looks again for this long. */
export const clientsLeaveMs = 1_000;
