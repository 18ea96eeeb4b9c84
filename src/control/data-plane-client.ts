import type { MessagePort } from 'node:worker_threads';
import type {
  ControlAnswers,
  ControlAsk,
  ControlFailure,
  ControlFailureCode,
  DataPlaneMessage,
  WorkerMessage,
} from '../device/messages.ts';

/** Asks waiting for the data plane at one time; the next one is refused with `BUSY`. */
export const waitingAsksMax = 64;
/** How long the data plane may take. Its answers are quick unless a disk hangs. */
export const answerDeadlineMs = 10_000;
/** Suspending drains and flushes, for at most 30 s; resuming looks at two disks that may hang. */
export const suspendDeadlineMs = 45_000;
/**
 * Removal waits for the last answers, then closes, each step with its own deadline; this is more than their sum, behind a
 * suspending that is under way.
 */
export const removeDeadlineMs = 150_000;

/** The data plane could not, would not or did not answer. */
export class AskError extends Error {
  override readonly name = 'AskError';
  readonly code: ControlFailureCode;

  constructor(failure: ControlFailure) {
    super(failure.message);
    this.code = failure.code;
  }
}

/** Of asks that may take long. */
const deadlineMsOf: Readonly<Partial<Record<ControlAsk['type'], number>>> = {
  suspend: suspendDeadlineMs,
  resume: suspendDeadlineMs,
  remove: removeDeadlineMs,
};

interface Waiting {
  readonly resolve: (answer: ControlAnswers[keyof ControlAnswers]) => void;
  readonly reject: (error: AskError) => void;
  readonly timer: NodeJS.Timeout;
}

export type AskType = ControlAsk['type'];

/** The worker's end of the border: asks by number, a bounded queue, a deadline for each. */
export class DataPlaneClient {
  readonly #port: Pick<MessagePort, 'postMessage' | 'on'>;
  readonly #waiting = new Map<number, Waiting>();
  readonly #deadlineMs: number;
  /** For how long the data thread is known not to turn. */
  readonly #stalledMs: () => number | undefined;
  #nextId = 1;

  constructor(
    port: Pick<MessagePort, 'postMessage' | 'on'>,
    deadlineMs: number = answerDeadlineMs,
    stalledMs: () => number | undefined = () => undefined,
  ) {
    this.#port = port;
    this.#stalledMs = stalledMs;
    this.#deadlineMs = deadlineMs;
    port.on('message', (message: DataPlaneMessage) => this.#receive(message));
  }

  /** Rejects with `AskError`. */
  ask(ask: ControlAsk): Promise<ControlAnswers[AskType]> {
    if (this.#waiting.size >= waitingAsksMax) {
      const failure: ControlFailure = { code: 'BUSY', message: 'too many requests at one time, try again' };
      return Promise.reject(new AskError(failure));
    }
    const stalledMs = this.#stalledMs();
    if (stalledMs !== undefined) {
      const message = `the device's data thread has not turned for ${Math.round(stalledMs / 1000)} s`;
      return Promise.reject(new AskError({ code: 'TIMED_OUT', message }));
    }
    const id = this.#nextId;
    this.#nextId += 1;
    const deadlineMs = deadlineMsOf[ask.type] ?? this.#deadlineMs;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(
          new AskError({ code: 'TIMED_OUT', message: `no answer from the device after ${deadlineMs} ms` }),
        );
      }, deadlineMs);
      this.#waiting.set(id, { resolve, reject, timer });
      const message: WorkerMessage = { kind: 'ask', id, ask };
      this.#port.postMessage(message);
    });
  }

  /** An answer whose deadline has passed finds nobody and is dropped. */
  #receive(message: DataPlaneMessage): void {
    if (message.kind === 'finish' || message.kind === 'news') return;
    const waiting = this.#waiting.get(message.id);
    if (waiting === undefined) return;
    this.#waiting.delete(message.id);
    clearTimeout(waiting.timer);
    if (message.kind === 'answer') waiting.resolve(message.answer);
    else waiting.reject(new AskError(message.failure));
  }
}
