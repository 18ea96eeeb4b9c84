import { assert } from '../block/assert.ts';
import type { Clock } from '../block/clock.ts';
import { type ByteStream, StreamError } from '../io/byte-stream.ts';
import { NbdProtocolError } from './codec.ts';
import type { ExportList } from './export-list.ts';
import { handshakeBufferBytes, serveHandshake } from './handshake.ts';
import type { NbdLimits } from './limits.ts';
import type { RequestMemory } from './request-memory.ts';
import { NbdSession } from './session.ts';
import { StreamReader } from './stream-reader.ts';

export interface NbdConnectionOptions {
  readonly exports: ExportList;
  readonly memory: RequestMemory;
  readonly clock: Clock;
  readonly limits: NbdLimits;
  readonly counters: Float64Array;
}

/** One client from its first byte to its last: handshake, then transmission, each with its deadline. */
export class NbdConnection {
  readonly #stream: ByteStream;
  readonly #buffer: Uint8Array;
  readonly #options: NbdConnectionOptions;
  #session: NbdSession | undefined;
  #draining = false;
  #suspended = false;
  #overdue: string | undefined;
  /** When the client last did something that we wait for, as far as seen. */
  #progressMs: number;
  #progress = 0;

  /** `buffer` is lent until `run` resolves. */
  constructor(stream: ByteStream, buffer: Uint8Array, options: NbdConnectionOptions) {
    this.#stream = stream;
    this.#buffer = buffer;
    this.#options = options;
    this.#progressMs = options.clock.nowMs();
  }

  get peer(): string {
    return this.#stream.peer;
  }

  get requestsInFlight(): number {
    return this.#session?.requestsInFlight ?? 0;
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
      if (nowMs - this.#progressMs >= limits.handshakeTimeoutMs) this.#expire('did not finish its handshake');
      return;
    }
    if (!session.waitsForClient || session.clientProgress !== this.#progress) {
      this.#progress = session.clientProgress;
      this.#progressMs = nowMs;
    } else if (nowMs - this.#progressMs >= limits.sendTimeoutMs) {
      this.#expire('neither took its replies nor sent what it announced');
    }
  }

  #expire(complaint: string): void {
    this.#overdue = `${complaint} in time`;
    this.drop();
  }

  async #serve(): Promise<void> {
    const reader = new StreamReader(this.#stream, handshakeBufferBytes);
    const { exports, memory, limits, counters } = this.#options;
    const agreed = await serveHandshake(this.#stream, reader, exports);
    if (agreed === undefined || this.#draining) return;
    const received = reader.rest;
    assert(received.length <= limits.receiveBufferBytes, 'NbdConnection: the rest does not fit');
    this.#session = new NbdSession({
      ...agreed.view,
      unfinishedWrites: agreed.chosen.unfinishedWrites,
      memory,
      limits,
      counters,
      stream: this.#stream,
      buffer: this.#buffer,
      received,
    });
    if (this.#suspended) this.#session.suspend();
    this.#progressMs = this.#options.clock.nowMs();
    await this.#session.run();
  }
}
