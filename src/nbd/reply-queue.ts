import { assert } from '../block/assert.ts';
import { type ByteStream, StreamError } from '../io/byte-stream.ts';
import { encodeDataChunk, encodeErrorChunk, errorChunkBytes } from './chunk-codec.ts';
import type { ClientRequest } from './client-request.ts';
import { encodeSimpleReply } from './codec.ts';
import { ChunkFlag, Command, dataChunkBytes, simpleReplyBytes, WireError } from './constants.ts';
import type { RequestLatencies } from './request-latencies.ts';

export interface ReplyQueueOptions {
  readonly stream: ByteStream;
  /** Replies that carry data are structured; all others stay simple, which is shorter and always allowed. */
  readonly structuredReplies: boolean;
  /** Room for one header of every request in flight, in the arena: headers leave without a copy. */
  readonly headers: Uint8Array;
  readonly latencies: RequestLatencies;
  /** The reply of `request` is out, or will never be: nothing of it is needed any more. */
  readonly onReplied: (request: ClientRequest) => void;
  /** A batch is over; the place for what should happen once for many replies. */
  readonly onBatchEnd: () => void;
}

/**
 * Gathers the replies of one connection. Never are two sends in flight on one stream; what becomes ready meanwhile leaves
 * with the next one.
 *
 *     headers  | reply 0 | reply 1 | reply 2 | …        one behind the other, rewritten for each send
 *     parts      header 0, data 0, headers 1 and 2 (writes), …
 *
 * A good read is one header and its data, with structured replies too: it is answered when all of it is in memory, so there is
 * nothing to gain by pieces.
 */
export class ReplyQueue {
  readonly #options: ReplyQueueOptions;
  readonly #headers: Uint8Array;
  /** Bytes of a good read's header. */
  readonly #headerBytes: number;
  /** One view a header of that size, made once: a view costs 24 to 36 ns. */
  readonly #headerViews: readonly Uint8Array[];
  #queued: ClientRequest[] = [];
  #sending: ClientRequest[] = [];
  readonly #parts: Uint8Array[] = [];
  #gatherScheduled = false;
  #sendInFlight = false;
  #broken = false;
  /** Sends begun. */
  sendCount = 0;
  readonly #gather: () => void;
  readonly #onSent: () => void;
  readonly #onFailed: (error: unknown) => void;

  constructor(options: ReplyQueueOptions) {
    this.#options = options;
    this.#headers = options.headers;
    const bytes = options.structuredReplies ? dataChunkBytes : simpleReplyBytes;
    this.#headerBytes = bytes;
    const count = Math.floor(options.headers.length / bytes);
    this.#headerViews = Array.from({ length: count }, (_, slot) =>
      this.#headers.subarray(slot * bytes, (slot + 1) * bytes),
    );
    this.#gather = () => {
      this.#gatherScheduled = false;
      this.#send();
    };
    this.#onSent = () => this.#finishBatch();
    this.#onFailed = (error) => {
      if (!(error instanceof StreamError)) throw error;
      this.#broken = true;
      this.#finishBatch();
    };
  }

  get sendInFlight(): boolean {
    return this.#sendInFlight;
  }

  /**
   * Queues the reply of a request that has its result. It leaves after the microtasks that are queued now: completions of
   * one turn of the ring settle in a row, and one send for all of them is what makes the server fast.
   */
  push(request: ClientRequest): void {
    this.#queued.push(request);
    if (this.#sendInFlight || this.#gatherScheduled) return;
    this.#gatherScheduled = true;
    void Promise.resolve().then(this.#gather);
  }

  /** From now on replies are dropped, as after a send that failed. */
  abandon(): void {
    this.#broken = true;
  }

  #send(): void {
    const batch = this.#queued;
    this.#queued = this.#sending;
    this.#sending = batch;
    this.#options.latencies.recordAll(batch);
    if (this.#broken) {
      this.#finishBatch();
      return;
    }
    assert(batch.length <= this.#headerViews.length, 'ReplyQueue: more replies than requests in flight');
    this.#fillParts(batch);
    this.#sendInFlight = true;
    this.sendCount += 1;
    this.#options.stream.send(this.#parts).then(this.#onSent, this.#onFailed);
  }

  #fillParts(batch: readonly ClientRequest[]): void {
    const parts = this.#parts;
    parts.length = 0;
    let runStart = 0;
    let end = 0;
    for (const request of batch) {
      const { reply } = request;
      const isGoodRead = request.command === Command.read && request.errno === WireError.none;
      if (reply === undefined) end += this.#encodeHeader(request, end);
      if (reply === undefined && !isGoodRead) continue;
      if (end > runStart) parts.push(this.#headersOf(runStart, end));
      runStart = end;
      if (reply !== undefined) {
        for (const part of reply) parts.push(part);
      } else {
        assert(request.piece !== undefined, 'ReplyQueue: a good read has its data');
        parts.push(request.piece);
      }
    }
    if (end > runStart) parts.push(this.#headersOf(runStart, end));
  }

  /** Writes the header of a reply at `at`; its bytes. */
  #encodeHeader(request: ClientRequest, at: number): number {
    const { command, errno } = request;
    // "MUST NOT use a simple reply for NBD_CMD_READ", nor "for any response with a payload".
    if (this.#options.structuredReplies && (command === Command.read || command === Command.blockStatus)) {
      if (errno !== WireError.none) {
        encodeErrorChunk(this.#headers, at, ChunkFlag.done, request, errno);
        return errorChunkBytes;
      }
      encodeDataChunk(this.#headers, at, ChunkFlag.done, request, request.offset, request.length);
      return dataChunkBytes;
    }
    encodeSimpleReply(this.#headers, at, errno, request.cookieHigh, request.cookieLow);
    return simpleReplyBytes;
  }

  #headersOf(from: number, to: number): Uint8Array {
    const bytes = this.#headerBytes;
    return to - from === bytes && from % bytes === 0
      ? this.#headerViews[from / bytes]!
      : this.#headers.subarray(from, to);
  }

  #finishBatch(): void {
    const batch = this.#sending;
    for (const request of batch) this.#options.onReplied(request);
    batch.length = 0;
    this.#sendInFlight = false;
    // First the next send, then whatever else: the socket should not wait for the parser.
    if (this.#queued.length > 0) this.#send();
    this.#options.onBatchEnd();
  }
}
