import type { Clock } from '../../block/clock.ts';
import { delay } from '../../block/clock.ts';
import { SuspendError } from '../../remap/order/suspension.ts';
import { clientsLeaveMs, removeDrainDeadlineMs } from '../closing-deadlines.ts';
import { ClosingSequence } from '../closing-steps.ts';
import type { Lifecycle } from '../lifecycle.ts';
import type { DiskRequests, LifecycleState, RemoveReport } from '../messages.ts';
import { SetupError } from '../setup-error.ts';
import { isWorldError } from '../setup-failure.ts';
import { describedMax, describeUnanswered } from '../stack/describe-unanswered.ts';
import type { ServedStack } from '../stack/served-stack.ts';

/** How often a leaving client is looked for. */
const clientsPollMs = 20;

export interface RemovalParts {
  readonly stack: ServedStack;
  readonly lifecycle: Lifecycle;
  readonly clock: Clock;
  /** The last steps begin; there is no way back. */
  readonly onClosing: (by: string) => void;
  /** Everything is closed, or was given up. */
  readonly onClosed: (report: RemoveReport) => void;
}

/**
 * The end of a device, in four manners:
 *
 * - `whenIdle`  ends clean or not at all: nobody is connected, every request has its answer, both disks are flushed
 * - `handOver`  the same, but with clients connected: they get no answer, and send what has none to the process that serves next
 * - `soon`      (a signal) ends whatever happens, each step within its deadline
 * - `now`       (`--force`) the same within seconds, and says what it left behind
 *
 * A more urgent one overtakes one that is under way; all who asked hear of the same end.
 */
export class Removal {
  readonly #parts: RemovalParts;
  #attempt: Promise<RemoveReport> | undefined;
  #sequence: ClosingSequence | undefined;
  #report: Promise<RemoveReport> | undefined;
  #handsOver = false;
  #announceClosing: () => void = () => undefined;
  /** Resolves when there is no way back any more. */
  readonly #closing: Promise<void>;

  constructor(parts: RemovalParts) {
    this.#parts = parts;
    this.#closing = new Promise((resolve) => {
      this.#announceClosing = resolve;
    });
  }

  /**
   * Rejects with `SetupError` busy, and the device goes on as before, while somebody uses it or a disk does not answer. `inTurn`
   * runs it behind a suspending or resuming that is under way.
   */
  whenIdle(by: string, inTurn: (work: () => Promise<void>) => Promise<void>): Promise<RemoveReport> {
    return this.#tryOnce(by, inTurn, false);
  }

  /**
   * As `whenIdle`, under clients. What was acknowledged is durable before they are left (R7: a flush that fails must be told to those
   * who wait for it, and nobody tells it later).
   */
  handOver(by: string, inTurn: (work: () => Promise<void>) => Promise<void>): Promise<RemoveReport> {
    return this.#tryOnce(by, inTurn, true);
  }

  /** Clients were left to the next process; there is no way back. */
  get handsOver(): boolean {
    return this.#handsOver;
  }

  soon(by: string): Promise<RemoveReport> {
    return this.#close(by, false);
  }

  now(by: string): Promise<RemoveReport> {
    this.#sequence?.hurry();
    return this.#close(by, true);
  }

  #tryOnce(
    by: string,
    inTurn: (work: () => Promise<void>) => Promise<void>,
    handsOver: boolean,
  ): Promise<RemoveReport> {
    if (this.#report !== undefined) return this.#report;
    this.#attempt ??= this.#tryWhenIdle(by, inTurn, handsOver).finally(() => {
      this.#attempt = undefined;
    });
    return this.#attempt;
  }

  async #tryWhenIdle(
    by: string,
    inTurn: (work: () => Promise<void>) => Promise<void>,
    handsOver: boolean,
  ): Promise<RemoveReport> {
    const quiesced = inTurn(() => this.#quiesce(handsOver));
    // What it says behind somebody's force is of no more interest; a bug is.
    void quiesced.catch((error: unknown) => {
      if (!isWorldError(error)) throw error;
    });
    await Promise.race([quiesced, this.#closing]);
    if (handsOver && this.#report === undefined) {
      this.#handsOver = true;
      this.#parts.stack.leaveClients();
    }
    return this.#close(by, false);
  }

  /** Nothing is under way and all is durable; new requests wait. */
  async #quiesce(handsOver: boolean): Promise<void> {
    const { stack, lifecycle } = this.#parts;
    if (this.#report !== undefined) return;
    const { state } = lifecycle;
    // Whoever suspended it knows that clients wait; they are refused, once (R30).
    if (state === 'serving' && !handsOver) await this.#refuseClients();
    if (this.#report !== undefined) return;
    lifecycle.moveTo('removing');
    try {
      await stack.suspend({ flush: true, deadlineMs: removeDrainDeadlineMs });
    } catch (error) {
      if (!(error instanceof SuspendError) || this.#sequence !== undefined) throw error;
      lifecycle.moveTo(state);
      const left = state === 'suspended' ? 'stays suspended' : 'serves on';
      throw new SetupError(
        'busy',
        `not removed, the device ${left}: ${this.#whatIsWrong(error)}; "remove --force" ends it all the same`,
        { cause: error },
      );
    }
    if (handsOver && stack.owesFlushFailure) await this.#serveOn();
  }

  /** R7: the next process knows nothing of a flush that failed here, and would tell the clients that all is well. */
  async #serveOn(): Promise<never> {
    const { stack, lifecycle } = this.#parts;
    let state: LifecycleState = 'suspended';
    try {
      await stack.resume();
      state = 'serving';
    } finally {
      lifecycle.moveTo(state);
    }
    throw new SetupError(
      'busy',
      'not removed, the device serves on: a flush has failed, and not all clients have heard of it; they do with their next flush',
    );
  }

  async #refuseClients(): Promise<void> {
    const { stack, clock } = this.#parts;
    for (let waitedMs = 0; stack.clients() > 0; waitedMs += clientsPollMs) {
      if (waitedMs >= clientsLeaveMs) {
        const count = stack.clients();
        const clients = count === 1 ? '1 client is' : `${count} clients are`;
        throw new SetupError(
          'busy',
          `not removed, the device is in use: ${clients} connected; unmount and disconnect first, or "remove --force" cuts them off`,
        );
      }
      await delay(clock, clientsPollMs);
      if (this.#report !== undefined) return;
    }
  }

  #whatIsWrong(error: SuspendError): string {
    if (error.code === 'SUSPEND_FLUSH_FAILED') {
      return `${error.message.replace(/^not suspended, /, '')}; what was written since the last good flush may be lost with the power`;
    }
    const unanswered = describeUnanswered(this.#parts.stack.unanswered(0, describedMax));
    if (unanswered === undefined) {
      return `its flush had no answer for ${removeDrainDeadlineMs / 1000} s; what was written since the last good flush may be lost with the power`;
    }
    return `${unanswered}; none of it was acknowledged, so no acknowledged data is at risk`;
  }

  #close(by: string, forced: boolean): Promise<RemoveReport> {
    this.#report ??= this.#closeInOrder(by, forced);
    return this.#report;
  }

  async #closeInOrder(by: string, forced: boolean): Promise<RemoveReport> {
    const { stack, lifecycle, clock, onClosing, onClosed } = this.#parts;
    if (lifecycle.state !== 'removing') lifecycle.moveTo('removing');
    let leftBehind: readonly DiskRequests[] = [];
    const steps = stack.closingSteps().map((step) => {
      if (step.name !== 'main') return step;
      // Once it is closed, what it has is nobody's any more.
      const run = (allowedMs: number): Promise<void> => {
        leftBehind = stack.unansweredByDisk();
        return step.run(allowedMs);
      };
      return { ...step, run };
    });
    const sequence = new ClosingSequence(steps, { clock, isExpected: isWorldError });
    this.#sequence = sequence;
    if (forced) sequence.hurry();
    this.#announceClosing();
    onClosing(by);
    const outcomes = await sequence.run();
    lifecycle.moveTo('removed');
    const report: RemoveReport = { steps: outcomes, leftBehind };
    onClosed(report);
    return report;
  }
}
