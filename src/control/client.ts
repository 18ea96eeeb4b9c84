import { request } from 'node:http';
import type { ControlAnswers } from '../device/messages.ts';
import type { HealthStatus } from '../health/health-status.ts';

/** How long a device may take to answer, and to be removed: more than it gives itself. */
const answerDeadlineMs = 15_000;
const suspendDeadlineMs = 50_000;
const removeDeadlineMs = 160_000;
/** Above the deadline of smartctl, and of two questions to a large table. */
const healthDeadlineMs = 60_000;
/** By force each step is cut short; more than their sum. */
const forceDeadlineMs = 10_000;
/** Bytes of an answer; `list` of a full table is cut by the device long before. */
const answerBytesMax = 16_777_216;

/**
 * - `NOBODY`       nothing listens on the socket
 * - `NO_ANSWER`    the connection broke, or nothing came before the deadline
 * - `BAD_MESSAGE`  the device does not know these words
 * - `UNSAFE`       it would harm data, or could
 * - `BUSY`         somebody uses the device, a disk does not answer, or the device is not in the state for it
 * - `REFUSED`      the device answered with any other failure
 */
export type ControlErrorCode = 'NOBODY' | 'NO_ANSWER' | 'BAD_MESSAGE' | 'UNSAFE' | 'BUSY' | 'REFUSED';

/** The device could not be asked, or said no; the message is one line. */
export class ControlError extends Error {
  override readonly name = 'ControlError';
  readonly code: ControlErrorCode;

  constructor(code: ControlErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** Asks one device over its control socket. */
export class ControlClient {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  async ping(): Promise<ControlAnswers['ping']> {
    const body = await this.#ask('GET', '/ping');
    return checked((await schemas()).pingAnswer, body);
  }

  async status(deadlineMs: number = answerDeadlineMs): Promise<ControlAnswers['status']> {
    const body = await this.#ask('GET', '/status', undefined, deadlineMs);
    return checked((await schemas()).statusAnswer, body);
  }

  /** Looked at now: disks that are slow to say how they are keep it waiting for some seconds. */
  async health(): Promise<HealthStatus | null> {
    const body = await this.#ask('GET', '/health', undefined, healthDeadlineMs);
    return checked((await import('./health-schema.ts')).healthAnswer, body).health;
  }

  async table(): Promise<ControlAnswers['table']> {
    const body = await this.#ask('GET', '/table');
    return checked((await schemas()).tableAnswer, body);
  }

  async message(sector: number, words: readonly string[]): Promise<ControlAnswers['message']> {
    const body = await this.#ask('POST', '/message', JSON.stringify({ sector, words }));
    return checked((await schemas()).messageAnswer, body);
  }

  /** Resolves when nothing of a client is under way any more, with `flush` also when all of it is durable. */
  async suspend(flush: boolean): Promise<ControlAnswers['suspend']> {
    const body = await this.#ask('POST', '/suspend', JSON.stringify({ flush }), suspendDeadlineMs);
    return checked((await schemas()).stateAnswer, body);
  }

  async resume(): Promise<ControlAnswers['resume']> {
    const body = await this.#ask('POST', '/resume', undefined, suspendDeadlineMs);
    return checked((await schemas()).stateAnswer, body);
  }

  /** A file of the kernel's that is the device, by the path to open it. */
  async openFile(readOnly: boolean): Promise<ControlAnswers['open-file']> {
    const body = await this.#ask('POST', '/open-file', JSON.stringify({ readOnly }));
    return checked((await schemas()).openFileAnswer, body);
  }

  /**
   * Resolves when the device has closed its disks; its process ends right after. Without `force` rejects with `BUSY`, and the
   * device goes on, while it is in use or a disk does not answer.
   */
  async remove(options: { readonly force: boolean } = { force: false }): Promise<ControlAnswers['remove']> {
    return await this.#remove(options, options.force ? forceDeadlineMs : removeDeadlineMs);
  }

  /** As `remove`, but under clients, which are left to the process that serves next: to them it is a pause. */
  async handOver(): Promise<ControlAnswers['remove']> {
    return await this.#remove({ force: false, handOver: true }, removeDeadlineMs);
  }

  async #remove(options: object, deadlineMs: number): Promise<ControlAnswers['remove']> {
    const body = await this.#ask('POST', '/remove', JSON.stringify(options), deadlineMs);
    return checked((await schemas()).removeAnswer, body);
  }

  async #ask(
    method: string,
    path: string,
    body?: string,
    deadlineMs: number = answerDeadlineMs,
  ): Promise<unknown> {
    const answer = await this.#exchange(method, path, body, deadlineMs);
    if (answer.status !== 200) throw await refusalOf(answer);
    return parseJson(answer.body);
  }

  #exchange(method: string, path: string, body: string | undefined, deadlineMs: number): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          socketPath: this.#socketPath,
          method,
          path,
          agent: false,
          headers: body === undefined ? {} : { 'content-type': 'application/json' },
          signal: AbortSignal.timeout(deadlineMs),
        },
        (incoming) => {
          const chunks: Buffer[] = [];
          let received = 0;
          incoming.on('data', (chunk: Buffer) => {
            received += chunk.length;
            if (received > answerBytesMax)
              incoming.destroy(new Error(`the answer is over ${answerBytesMax} bytes`));
            else chunks.push(chunk);
          });
          incoming.on('error', (error) => reject(noAnswer(error, deadlineMs)));
          incoming.on('end', () => {
            resolve({ status: incoming.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') });
          });
        },
      );
      outgoing.on('error', (error) => reject(noAnswer(error, deadlineMs)));
      outgoing.end(body);
    });
  }
}

function noAnswer(error: Error, deadlineMs: number): ControlError {
  const code = 'code' in error ? error.code : undefined;
  if (code === 'ENOENT' || code === 'ECONNREFUSED') {
    return new ControlError('NOBODY', 'nobody answers on its control socket', { cause: error });
  }
  const why =
    code === 'ABORT_ERR'
      ? `no answer within ${deadlineMs / 1000} s: its process is stopped, or hangs`
      : `the connection broke: ${error.message}`;
  return new ControlError('NO_ANSWER', why, { cause: error });
}

/** Loaded with the first answer: zod costs 33 ms, and most commands never get that far. */
function schemas(): Promise<typeof import('./schema.ts')> {
  return import('./schema.ts');
}

interface Schema<T> {
  safeParse(value: unknown): { success: true; data: T } | { success: false };
}

function checked<T>(schema: Schema<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (!parsed.success) throw new ControlError('NO_ANSWER', 'the answer is not what a dm-remap device says');
  return parsed.data;
}

const errorCodes: Readonly<Record<string, ControlErrorCode>> = {
  BAD_MESSAGE: 'BAD_MESSAGE',
  UNSAFE: 'UNSAFE',
  IN_USE: 'BUSY',
  WRONG_STATE: 'BUSY',
};

async function refusalOf(answer: Answer): Promise<ControlError> {
  const parsed = (await schemas()).failureBody.safeParse(parseJson(answer.body));
  if (!parsed.success)
    return new ControlError('NO_ANSWER', `the device answered with status ${answer.status}`);
  const { code, message } = parsed.data.error;
  return new ControlError(errorCodes[code] ?? 'REFUSED', message);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
