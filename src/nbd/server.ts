import { assert } from '../block/assert.ts';
import { arenaPageBytes, type BufferArena } from '../block/buffer-arena.ts';
import type { Clock, ScheduledAction } from '../block/clock.ts';
import type { ByteStream, StreamListener } from '../io/byte-stream.ts';
import { NbdConnection } from './connection.ts';
import { OptionReply, payloadBytesMax } from './constants.ts';
import { createNbdCounters, NbdCounter } from './counters.ts';
import { ExportList, type NbdExport } from './export-list.ts';
import { defaultNbdLimits, type NbdLimits } from './limits.ts';
import type { OtherClient, SharedByClients } from './other-client.ts';
import { ProtocolNotes } from './protocol-notes.ts';
import { refuseConnection } from './refuse-connection.ts';
import { findUnanswered, RequestAges, type UnansweredRequests } from './request-ages.ts';
import type { RequestLatencies } from './request-latencies.ts';
import { RequestMemory } from './request-memory.ts';
import { connectionBufferBytes } from './session.ts';

export interface NbdServerOptions {
  /** At least one; the first is the default. */
  readonly exports: readonly NbdExport[];
  /** Memory of connections and requests, all from its `client` reserve. */
  readonly arena: BufferArena;
  readonly clock: Clock;
  readonly limits?: Partial<NbdLimits>;
  /** As `createNbdCounters` makes them. */
  readonly counters?: Float64Array;
  /** One line about a client that was dropped; bounded and rate-limited. */
  readonly onProtocolError?: (message: string) => void;
  /** A client has come, or gone; `open` are connected now. Whoever reaches the socket causes as many as he likes. */
  readonly onClient?: (change: 'connected' | 'disconnected', peer: string, open: number) => void;
  /** Called once a second while any request has no answer (I22). */
  readonly onBusySecond?: () => void;
}

/** How often clients that let us wait are looked at. Deadlines are kept to within this. */
const watchIntervalMs = 5_000;

/**
 * Exports of one process on any number of listeners, with the same limits and memory for all their clients. A client's garbage costs its own connection and at most one note; an error that
 * is our bug rejects a promise that nobody handles, and so ends the process.
 */
export class NbdServer {
  readonly counters: Float64Array;
  readonly exports: ExportList;
  readonly #options: NbdServerOptions;
  readonly #limits: NbdLimits;
  readonly #notes: ProtocolNotes;
  /** One piece for the buffers of all connections, taken while the arena is empty: see `#takeBuffers`. */
  readonly #buffers: Uint8Array;
  readonly #memory: RequestMemory;
  readonly #ages: RequestAges;
  readonly #freeBuffers: Uint8Array[] = [];
  readonly #listeners = new Set<StreamListener>();
  readonly #connections = new Map<NbdConnection | OtherClient, Promise<void>>();
  /** Clients that are told why they are not served. */
  readonly #refusals = new Map<ByteStream, Promise<void>>();
  #watch: ScheduledAction | undefined;
  #suspended = false;
  #closed: Promise<number> | undefined;

  /** Takes the memory of all connections from the arena; a client reserve that is too small for it is a bug. */
  constructor(options: NbdServerOptions) {
    this.#options = options;
    this.#limits = { ...defaultNbdLimits, ...options.limits };
    this.counters = options.counters ?? createNbdCounters();
    this.#notes = new ProtocolNotes(options.clock, options.onProtocolError ?? (() => undefined));
    this.#ages = new RequestAges(
      options.clock,
      () => this.#isBusy(),
      options.onBusySecond ?? (() => undefined),
    );
    this.#buffers = this.#takeBuffers();
    this.#memory = new RequestMemory(options.arena, options.clock, this.#limits.connectionsMax);
    this.exports = new ExportList(options.exports, largestPayload(options.arena, this.#memory.halfBytes));
  }

  /** Serves whoever connects to `listener`, until `close`. The listener is then closed too. */
  listen(listener: StreamListener): void {
    assert(this.#closed === undefined, 'NbdServer: listen after close');
    this.#listeners.add(listener);
    void this.#accept(listener);
  }

  /** Serves a stream that somebody else accepted. */
  serve(stream: ByteStream): void {
    const buffer = this.#closed === undefined ? this.#freeBuffers.pop() : undefined;
    if (buffer === undefined) {
      this.#refuse(stream);
      return;
    }
    this.counters[NbdCounter.connections]! += 1;
    const connection = new NbdConnection(stream, buffer, {
      exports: this.exports,
      memory: this.#memory,
      ages: this.#ages,
      clock: this.#options.clock,
      limits: this.#limits,
      counters: this.counters,
    });
    this.#admit(connection, buffer);
    this.#keepWatch();
  }

  /**
   * Serves a client of the first export that comes by another way, in the place of a connection. False, and `make` is not called,
   * when the server is closed or has as many clients as it may have.
   */
  serveOther(make: (shared: SharedByClients) => OtherClient): boolean {
    const buffer = this.#closed === undefined ? this.#freeBuffers.pop() : undefined;
    if (buffer === undefined) return false;
    const { aligned, unfinishedWrites } = this.exports.all[0]!;
    const shared = { memory: this.#memory, ages: this.#ages, counters: this.counters, unfinishedWrites };
    this.counters[NbdCounter.connections]! += 1;
    this.#admit(make({ ...aligned, ...shared }), buffer);
    return true;
  }

  #admit(connection: NbdConnection | OtherClient, buffer: Uint8Array): void {
    if (this.#suspended) connection.suspend();
    this.#connections.set(connection, this.#follow(connection, buffer));
    this.counters[NbdCounter.connectionsOpen] = this.#connections.size;
    this.#options.onClient?.('connected', connection.peer, this.#connections.size);
  }

  /** How long requests of all clients took. */
  get latencies(): RequestLatencies {
    return this.#ages.latencies;
  }

  /** Clients that are connected and may send something; a connection that only waits for its last answers has none. */
  get clients(): number {
    return [...this.#connections.keys()].filter((connection) => connection.hasClient).length;
  }

  /** Requests without an answer that came at least `minAgeSeconds` ago: how many, and up to `listedMax` of the oldest. */
  unanswered(minAgeSeconds: number, listedMax: number): UnansweredRequests {
    return findUnanswered(this.#ages.tick, minAgeSeconds, listedMax, (show) => {
      for (const connection of this.#connections.keys()) connection.showUnanswered(show);
    });
  }

  /**
   * R30: no request is parsed any more, on any connection, until `resume`; clients may connect, and wait. Requests in flight
   * go on. The device is suspended after it, and resumed before `resume`.
   */
  suspend(): void {
    this.#suspended = true;
    for (const connection of this.#connections.keys()) connection.suspend();
  }

  resume(): void {
    this.#suspended = false;
    for (const connection of this.#connections.keys()) connection.resume();
  }

  /** R7: some client has writes in doubt, by a flush that failed, and has not heard of it: only this process can tell it. */
  get owesFlushFailure(): boolean {
    return [...this.#connections.keys()].some((connection) => connection.owesFlushFailure);
  }

  /**
   * Ends all connections without another word, on a suspended server, before `close`: clients that send what has no answer to the
   * next process must not hear from this one that it failed. What devices still have goes on, its answers are dropped.
   */
  leaveClients(): void {
    assert(this.#suspended, 'NbdServer: leaveClients while requests are taken');
    for (const connection of this.#connections.keys()) connection.drop();
  }

  /**
   * Stops accepting. Requests in flight are answered; what comes after, held requests of a suspended server too, is answered
   * ESHUTDOWN without asking a device, and options of a handshake ERR_SHUTDOWN, until the client is quiet, at most for
   * `shutdownRefusingMs`. Then the connection ends, and after `deadlineMs` what is left is dropped. Resolves to the number of
   * requests that devices still had not finished then: 0 whenever all went well. Idempotent; the first deadline counts.
   */
  close(deadlineMs: number): Promise<number> {
    this.#closed ??= this.#close(deadlineMs);
    return this.#closed;
  }

  async #close(deadlineMs: number): Promise<number> {
    this.#watch?.cancel();
    this.#ages.close();
    const stopped = [...this.#listeners].map((listener) => listener.close());
    for (const stream of this.#refusals.keys()) void stream.close();
    for (const connection of this.#connections.keys()) connection.refuse();
    this.#endQuietConnections(Math.min(this.#limits.shutdownRefusingMs, deadlineMs));
    const ended = Promise.all([...stopped, ...this.#refusals.values(), ...this.#connections.values()]);
    // The last connection gives back the memory of all, however long after the deadline.
    const released = ended.then(() => {
      this.#watch?.cancel();
      this.#memory.close();
      this.#options.arena.release(this.#buffers);
    });
    await this.#within(deadlineMs, released);
    for (const connection of this.#connections.keys()) connection.drop();
    // What only waited for its client ends now; what waits for the device does not.
    await this.#within(deadlineMs === 0 ? 0 : dropGraceMs, released);
    return this.#requestsInFlight();
  }

  /** Looks every `shutdownQuietMs`; after `leftMs` no connection is read from any more. */
  #endQuietConnections(leftMs: number): void {
    if (this.#connections.size === 0) return;
    const waitMs = Math.min(leftMs, this.#limits.shutdownQuietMs);
    this.#watch = this.#options.clock.schedule(waitMs, () => {
      const isLast = waitMs === leftMs;
      for (const connection of this.#connections.keys()) {
        if (isLast || connection.becomesQuiet()) connection.drain();
      }
      if (!isLast) this.#endQuietConnections(leftMs - waitMs);
    });
  }

  #isBusy(): boolean {
    for (const connection of this.#connections.keys()) if (connection.isBusy) return true;
    return false;
  }

  #requestsInFlight(): number {
    return [...this.#connections.keys()].reduce((sum, connection) => sum + connection.requestsInFlight, 0);
  }

  #within(limitMs: number, done: Promise<unknown>): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = this.#options.clock.schedule(limitMs, resolve);
      done.then(() => {
        timer.cancel();
        resolve();
      }, reject);
    });
  }

  async #accept(listener: StreamListener): Promise<void> {
    for (;;) {
      const stream = await listener.accept();
      if (stream === undefined) return;
      this.serve(stream);
    }
  }

  #refuse(stream: ByteStream): void {
    this.counters[NbdCounter.connectionsRefused]! += 1;
    const { connectionsMax, refusalsMax, refusalTimeoutMs } = this.#limits;
    if (this.#closed !== undefined || this.#refusals.size >= refusalsMax) {
      void stream.close();
      return;
    }
    const refusal = {
      type: OptionReply.errorPolicy,
      message: `the limit of ${connectionsMax} open connections is reached`,
    };
    const { clock } = this.#options;
    const refused = refuseConnection(stream, this.exports, refusal, { clock, timeoutMs: refusalTimeoutMs });
    this.#refusals.set(
      stream,
      refused.then(() => void this.#refusals.delete(stream)),
    );
  }

  async #follow(connection: NbdConnection | OtherClient, buffer: Uint8Array): Promise<void> {
    const complaint = await connection.run();
    this.#connections.delete(connection);
    this.#freeBuffers.push(buffer);
    this.counters[NbdCounter.connectionsOpen] = this.#connections.size;
    this.#options.onClient?.('disconnected', connection.peer, this.#connections.size);
    if (complaint === undefined) return;
    this.counters[NbdCounter.protocolErrors]! += 1;
    this.#notes.add(`nbd client ${connection.peer}: ${complaint}; connection closed`);
  }

  /** One timer for all connections while there are any: a timer for each send would cost more than the send's code. */
  #keepWatch(): void {
    if (this.#watch !== undefined) return;
    this.#watch = this.#options.clock.schedule(watchIntervalMs, () => {
      this.#watch = undefined;
      for (const connection of this.#connections.keys()) {
        // A kernel keeps what it asks until we take it, and takes every reply.
        if (connection instanceof NbdConnection) connection.checkDeadlines();
      }
      if (this.#connections.size > 0 && this.#closed === undefined) this.#keepWatch();
    });
  }

  /**
   * Buffers that live as long as a connection must not lie about in the arena: one in the middle of it would make a large
   * piece impossible for as long, and whoever waits for that piece would stop all others behind him.
   */
  #takeBuffers(): Uint8Array {
    const count = this.#limits.connectionsMax;
    const each = Math.ceil(connectionBufferBytes(this.#limits) / arenaPageBytes) * arenaPageBytes;
    const buffers = this.#options.arena.take(count * each, 'client');
    assert(buffers !== undefined, `NbdServer: the arena has no ${count * each} bytes for connections`);
    for (let index = count - 1; index >= 0; index -= 1) {
      this.#freeBuffers.push(buffers.subarray(index * each, (index + 1) * each));
    }
    return buffers;
  }
}

/** Time for dropped connections to let go of their streams. */
const dropGraceMs = 1_000;

/**
 * Bytes of the largest piece that requests can be sure of: found by taking it, with the long-lived pieces in place, and no
 * more than half of the pool (R36). Only so much is advertised and served, so that a request can always wait for its piece
 * and get it.
 */
function largestPayload(arena: BufferArena, halfBytes: number): number {
  for (let length = payloadBytesMax; length >= arenaPageBytes; length /= 2) {
    const piece = length <= halfBytes ? arena.take(length, 'client') : undefined;
    if (piece === undefined) continue;
    arena.release(piece);
    return length;
  }
  assert(false, 'NbdServer: the arena has no memory for requests');
}
