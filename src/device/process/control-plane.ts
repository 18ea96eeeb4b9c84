import { Worker } from 'node:worker_threads';
import type { Clock, ScheduledAction } from '../../block/clock.ts';
import type {
  ControlAnswers,
  ControlAsk,
  ControlFailure,
  DataPlaneMessage,
  DeniedPeer,
  HealthEvent,
  WorkerMessage,
  WorkerSettings,
} from '../messages.ts';
import { SetupError } from '../setup-error.ts';

/** The control plane comes back after this long, doubled with every crash in a row up to the second number. */
export const restartDelayMinMs = 100;
export const restartDelayMaxMs = 10_000;
/** A worker that lived this long was well: its next crash is the first in a row. */
export const stableAfterMs = 60_000;
/** A worker that never came to listen this often will not: the device then does not start at all. */
export const startAttemptsMax = 5;
/** Heap of the worker. Past it V8 ends the worker, not the process. */
const workerHeapMegabytesMax = 128;
/** The last answer is short and its reader is on this machine. */
export const finishDeadlineMs = 2_000;
/** Asks answered at one time; the worker holds its own queue to the same number. */
export const asksInFlightMax = 64;

/** Serves what the worker asks. Rejects with a bug only; the world's errors are answers of kind `failure`. */
export type AskHandler = (
  ask: ControlAsk,
) => Promise<
  { readonly answer: ControlAnswers[keyof ControlAnswers] } | { readonly failure: ControlFailure }
>;

export interface ControlPlaneOptions {
  readonly workerUrl: URL;
  readonly settings: WorkerSettings;
  readonly clock: Clock;
  readonly answer: AskHandler;
  /** Told of every crash; `restart` counts them. */
  readonly onCrash: (reason: string, restart: number) => void;
  /** Told at most once a second of processes that may not use the API. */
  readonly onDenied: (denied: DeniedPeer) => void;
  readonly onHealth: (event: HealthEvent) => void;
  /** How disks were set up for recovering errors: all that is to be said of it. */
  readonly onTuned: (notes: readonly string[]) => void;
}

/**
 * Keeps one worker alive that serves the control API. It may crash, hang or run out of heap: the data plane only ever
 * posts messages to it, waits for none, and starts another one at a bounded rate.
 */
export class ControlPlane {
  readonly #options: ControlPlaneOptions;
  #worker: Worker | undefined;
  #restartTimer: ScheduledAction | undefined;
  #restarts = 0;
  #crashesInRow = 0;
  #asksInFlight = 0;
  #closed = false;
  /** Waits for the first worker that listens. */
  #starting: { readonly resolve: () => void; readonly reject: (error: SetupError) => void } | undefined;

  constructor(options: ControlPlaneOptions) {
    this.#options = options;
  }

  get restarts(): number {
    return this.#restarts;
  }

  /** Starts the worker; resolves when the API listens. Rejects with `SetupError` when it never came to that. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#starting = { resolve, reject };
      this.#startWorker();
    });
  }

  /** Something happened to the disks. */
  news(): void {
    if (this.#worker !== undefined) this.#post(this.#worker, { kind: 'news' });
  }

  /** Lets the worker send what it was just told, then ends it; it is not started again. */
  async finish(): Promise<void> {
    this.#closed = true;
    this.#restartTimer?.cancel();
    const worker = this.#worker;
    if (worker === undefined) return;
    const exited = new Promise<void>((resolve) => {
      worker.once('exit', () => resolve());
    });
    this.#post(worker, { kind: 'finish' });
    let timer: ScheduledAction | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = this.#options.clock.schedule(finishDeadlineMs, resolve);
    });
    await Promise.race([exited, deadline]);
    timer?.cancel();
    await this.close();
  }

  /** Ends the worker now; it is not started again. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#restartTimer?.cancel();
    const worker = this.#worker;
    this.#worker = undefined;
    if (worker !== undefined) await worker.terminate();
  }

  #startWorker(): void {
    const startMs = this.#options.clock.nowMs();
    const worker = new Worker(this.#options.workerUrl, {
      workerData: this.#options.settings,
      name: 'control',
      resourceLimits: { maxOldGenerationSizeMb: workerHeapMegabytesMax },
    });
    this.#worker = worker;
    let reason = 'ended';
    worker.on('message', (message: WorkerMessage) => this.#receive(worker, message));
    // Without a listener an error of the worker would be thrown in this thread and end the disk with it.
    worker.on('error', (error) => {
      reason = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    });
    worker.on('messageerror', () => {
      reason = 'a message could not be read';
    });
    worker.on('exit', () => this.#ended(worker, reason, startMs));
  }

  #ended(worker: Worker, reason: string, startMs: number): void {
    if (this.#closed || this.#worker !== worker) return;
    this.#worker = undefined;
    const { clock, onCrash } = this.#options;
    this.#crashesInRow = clock.nowMs() - startMs >= stableAfterMs ? 1 : this.#crashesInRow + 1;
    this.#restarts += 1;
    onCrash(reason, this.#restarts);
    if (this.#starting !== undefined && this.#restarts >= startAttemptsMax) {
      this.#starting.reject(new SetupError('failed', `the control API cannot be started: ${reason}`));
      this.#starting = undefined;
      this.#closed = true;
      return;
    }
    const delayMs = Math.min(
      restartDelayMaxMs,
      restartDelayMinMs * 2 ** Math.min(this.#crashesInRow - 1, 16),
    );
    this.#restartTimer = clock.schedule(delayMs, () => this.#startWorker());
  }

  #receive(worker: Worker, message: WorkerMessage): void {
    if (message.kind === 'listening') {
      this.#starting?.resolve();
      this.#starting = undefined;
      return;
    }
    if (message.kind === 'ask') this.#answer(worker, message.id, message.ask);
    else if (message.kind === 'health-event') this.#options.onHealth(message.event);
    else if (message.kind === 'tuned') this.#options.onTuned(message.notes);
    else {
      const { uid, pid, count } = message;
      this.#options.onDenied({ uid, pid, count });
    }
  }

  #answer(worker: Worker, id: number, ask: ControlAsk): void {
    if (this.#asksInFlight >= asksInFlightMax) {
      const failure: ControlFailure = { code: 'BUSY', message: 'too many requests at one time, try again' };
      this.#post(worker, { kind: 'failure', id, failure });
      return;
    }
    this.#asksInFlight += 1;
    // Not caught on purpose: what rejects here is a bug of ours and must end the process.
    void this.#options.answer(ask).then((result) => {
      this.#asksInFlight -= 1;
      this.#post(
        worker,
        'failure' in result
          ? { kind: 'failure', id, failure: result.failure }
          : { kind: 'answer', id, answer: result.answer },
      );
    });
  }

  /** To a worker that has ended meanwhile a message goes nowhere, without an error. */
  #post(worker: Worker, message: DataPlaneMessage): void {
    worker.postMessage(message);
  }
}
