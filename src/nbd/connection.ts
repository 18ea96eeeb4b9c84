import { assert } from '../block/assert.ts';
import type { Clock } from '../block/clock.ts';
import { type ByteStream, StreamError } from '../io/byte-stream.ts';
import { NbdProtocolError } from './codec.ts';
import { OptionReply } from './constants.ts';
import type { ExportList } from './export-list.ts';
import { type HandshakeRefusal, handshakeBufferBytes, serveHandshake } from './handshake.ts';
import type { NbdLimits } from './limits.ts';
import type { RequestAges, ShowRequest } from './request-ages.ts';
import type { RequestMemory } from './request-memory.ts';
import { NbdSession } from './session.ts';
import { type ClientWait, StallWatch } from './stall-watch.ts';
import { StreamReader } from './stream-reader.ts';

export interface NbdConnectionOptions {
  readonly exports: ExportList;
  readonly memory: RequestMemory;
  readonly ages: RequestAges;
  readonly clock: Clock;
  readonly limits: NbdLimits;
  readonly counters: Float64Array;
}

const shuttingDown: HandshakeRefusal = {
  type: OptionReply.errorShutdown,
  message: 'this server is shutting down',
};

/** One client from its first byte to its last: handshake, then transmission, each with its deadline. */
export class NbdConnection {
  readonly #stream: ByteStream;
  readonly #buffer: Uint8Array;
  readonly #options: NbdConnectionOptions;
  #session: NbdSession | undefined;
  readonly #startMs: number;
  readonly #replyWatch: StallWatch;
  readonly #requestWatch: StallWatch;
  #draining = false;
  #refusing = false;
  #suspended = false;
  #overdue: string | undefined;
  /** Options refused and requests seen when somebody last asked whether the client is quiet. */
  #seen = 0;
  #optionsRefused = 0;

  /** `buffer` is lent until `run` resolves. */
  constructor(stream: ByteStream, buffer: Uint8Array, options: NbdConnectionOptions) {
    this.#stream = stream;
    this.#buffer = buffer;
    this.#options = options;
    this.#startMs = options.clock.nowMs();
    this.#replyWatch = new StallWatch(this.#startMs);
    this.#requestWatch = new StallWatch(this.#startMs);
  }

  get peer(): string {
    return this.#stream.peer;
  }

  get requestsInFlight(): number {
    return this.#session?.requestsInFlight ?? 0;
  }

  /** True while a client in transmission may still send something. */
  get hasClient(): boolean {
    return this.#session !== undefined && !this.#session.clientLeft;
  }

  get isBusy(): boolean {
    return this.#session?.isBusy ?? false;
  }

  /** As `OtherClient.owesFlushFailure`. */
  get owesFlushFailure(): boolean {
    return this.#session?.owesFlushFailure ?? false;
  }

  /** As `NbdSession.showUnanswered`. */
  showUnanswered(show: ShowRequest): void {
    this.#session?.showUnanswered(show);
  }

  /** Resolves when nothing of the connection is left: to what was wrong with the client, or undefined. */
  async run(): Promise<string | undefined> {
    try {
      await this.#serve();
      return this.#overdue;
    } catch (error) {
      if (error instanceof NbdProtocolError) return error.message;
      if (error instanceof StreamError) return this.#overdue;
      throw error;
    } finally {
      await this.#stream.close();
    }
  }

  /** As `NbdSession.suspend`; a client that is still shaking hands gets through that first. */
  suspend(): void {
    this.#suspended = true;
    this.#session?.suspend();
  }

  resume(): void {
    this.#suspended = false;
    this.#session?.resume();
  }

  /** As `NbdSession.refuse`; in a handshake every option is. */
  refuse(): void {
    this.#refusing = true;
    this.#suspended = false;
    this.#seen = this.#countSeen();
    this.#session?.refuse();
  }

  /** Whether nothing is left to answer and nothing new has come since the last call, or since `refuse`. */
  becomesQuiet(): boolean {
    const seen = this.#countSeen();
    const quiet = seen === this.#seen && this.requestsInFlight === 0;
    this.#seen = seen;
    return quiet;
  }

  /** As `NbdSession.drain`; a client that is still shaking hands is dropped. */
  drain(): void {
    this.#draining = true;
    if (this.#session === undefined) this.drop();
    else this.#session.drain();
  }

  drop(): void {
    this.#draining = true;
    if (this.#session === undefined) void this.#stream.close();
    else this.#session.drop();
  }

  /** Drops the connection when a deadline of the client's has passed. */
  checkDeadlines(): void {
    const { clock, limits } = this.#options;
    const nowMs = clock.nowMs();
    const session = this.#session;
    if (session === undefined) {
      if (nowMs - this.#startMs >= limits.handshakeTimeoutMs) this.#expire('did not finish its handshake');
      return;
    }
    const { replyWait, requestWait } = session;
    if (this.#replyWatch.expired(nowMs, replyWait, this.#limitMs(replyWait))) {
      this.#expire('did not take its replies');
    } else if (this.#requestWatch.expired(nowMs, requestWait, this.#limitMs(requestWait))) {
      this.#expire('did not send the rest of a request');
    }
  }

  #limitMs({ bytes }: ClientWait): number {
    const { stallTimeoutMs, clientBytesPerSecondMin } = this.#options.limits;
    return stallTimeoutMs + (1000 * bytes) / clientBytesPerSecondMin;
  }

  #countSeen(): number {
    return this.#optionsRefused + (this.#session?.requestsSeen ?? 0);
  }

  #expire(complaint: string): void {
    this.#overdue = `${complaint} in time`;
    this.drop();
  }

  #refusal(): HandshakeRefusal | undefined {
    if (!this.#refusing) return undefined;
    this.#optionsRefused += 1;
    return shuttingDown;
  }

  async #serve(): Promise<void> {
    const reader = new StreamReader(this.#stream, handshakeBufferBytes);
    const { exports, memory, limits, counters } = this.#options;
    const agreed = await serveHandshake(this.#stream, reader, exports, () => this.#refusal());
    if (agreed === undefined || this.#draining) return;
    const received = reader.rest;
    assert(received.length <= limits.receiveBufferBytes, 'NbdConnection: the rest does not fit');
    this.#session = new NbdSession({
      ages: this.#options.ages,
      ...agreed.view,
      unfinishedWrites: agreed.chosen.unfinishedWrites,
      structuredReplies: agreed.structuredReplies,
      contexts: agreed.contexts,
      memory,
      limits,
      counters,
      stream: this.#stream,
      buffer: this.#buffer,
      received,
    });
    if (this.#suspended) this.#session.suspend();
    if (this.#refusing) this.#session.refuse();
    await this.#session.run();
  }
}
