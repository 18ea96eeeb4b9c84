import type { Clock } from '../../block/clock.ts';
import { asDeviceError } from '../../block/device-error.ts';
import type { RequestGate } from '../../block/request-gate.ts';

/**
 * How long suspending waits for requests and flushes: twice what a request is held for a path that failed (R17), so that a
 * disk that comes back in time is suspended and not refused.
 */
export const suspendDeadlineMs = 30_000;

/** How long resuming waits to hear that what had failed works again. A disk's own recovery of a bad sector takes 7 s. */
export const resumeDeadlineMs = 10_000;

/**
 * The device could not be suspended, and serves as before. One line. Codes: `SUSPEND_TIMED_OUT`, `SUSPEND_FLUSH_FAILED`,
 * `SUSPEND_ENDED` (somebody resumed or closed it meanwhile).
 */
export class SuspendError extends Error {
  override readonly name = 'SuspendError';
  readonly code: 'SUSPEND_TIMED_OUT' | 'SUSPEND_FLUSH_FAILED' | 'SUSPEND_ENDED';

  constructor(code: SuspendError['code'], message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

export interface SuspendOptions {
  /** Also wait for all answers, and make them durable; else only admission stops. */
  readonly flush: boolean;
  /** For that; default `suspendDeadlineMs`. */
  readonly deadlineMs?: number;
}

export interface SuspensionParts {
  readonly clock: Clock;
  readonly gate: RequestGate;
  /** Makes everything that was answered durable. Rejects with `DeviceError`. */
  readonly flush: () => Promise<void>;
}

/** R30: no request is admitted, what was admitted has its answer, what was answered is durable. */
export class Suspension {
  readonly #parts: SuspensionParts;

  constructor(parts: SuspensionParts) {
    this.#parts = parts;
  }

  /** Without `flush` only admission stops. Suspending what is suspended is no error. */
  async begin(options: SuspendOptions): Promise<void> {
    const { gate } = this.#parts;
    if (gate.closed) throw ended();
    const wasSuspended = gate.suspended;
    gate.suspend();
    if (!options.flush) return;
    try {
      await this.#withinDeadline(this.#quiesce(), options.deadlineMs ?? suspendDeadlineMs);
    } catch (error) {
      if (!wasSuspended) gate.resume();
      throw error;
    }
  }

  /** Admits requests again, at once, then `recover`s what had failed, and waits for that a little. */
  async end(recover: () => Promise<void>): Promise<void> {
    const { clock, gate } = this.#parts;
    gate.resume();
    await new Promise<void>((resolve) => {
      const timer = clock.schedule(resumeDeadlineMs, resolve);
      // Not caught on purpose: what rejects here is a bug.
      void recover().then(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  async #quiesce(): Promise<void> {
    const { gate, flush } = this.#parts;
    await gate.idle();
    if (!gate.suspended) throw ended();
    try {
      await flush();
    } catch (error) {
      const cause = asDeviceError(error);
      throw new SuspendError('SUSPEND_FLUSH_FAILED', `not suspended, its flush failed: ${cause.message}`, {
        cause,
      });
    }
    if (!gate.suspended) throw ended();
  }

  /** What goes on behind the deadline is of no more interest, unless it is a bug. */
  async #withinDeadline(quiesce: Promise<void>, deadlineMs: number): Promise<void> {
    const { clock, gate } = this.#parts;
    let late = false;
    await new Promise<void>((resolve, reject) => {
      const timer = clock.schedule(deadlineMs, () => {
        late = true;
        const waiting = gate.inFlight === 0 ? 'the flush has' : `${gate.inFlight} requests have`;
        reject(
          new SuspendError(
            'SUSPEND_TIMED_OUT',
            `not suspended, ${waiting} had no answer from the disks for ${deadlineMs / 1000} s`,
          ),
        );
      });
      quiesce.then(resolve, (error: unknown) => {
        if (!late) reject(error);
        else if (!(error instanceof SuspendError)) throw error;
      });
      void quiesce.then(
        () => timer.cancel(),
        () => timer.cancel(),
      );
    });
  }
}

function ended(): SuspendError {
  return new SuspendError('SUSPEND_ENDED', 'not suspended, the device was resumed or removed meanwhile');
}
