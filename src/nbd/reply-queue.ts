import { assert } from '../block/assert.ts';
import { type ByteStream, StreamError } from '../io/byte-stream.ts';
import type { ClientRequest } from './client-request.ts';
import { encodeSimpleReply } from './codec.ts';
import { Command, simpleReplyBytes, WireError } from './constants.ts';

export interface ReplyQueueOptions {
  readonly stream: ByteStream;
  /** Room for one header of every request in flight, in the arena: headers leave without a copy. */
  readonly headers: Uint8Array;
  /** The reply of `request` is out, or will never be: nothing of it is needed any more. */
  readonly onReplied: (request: ClientRequest) => void;
  /** A batch is over; the place for what should happen once for many replies. */
  readonly onBatchEnd: () => void;
}

/**
 * Gathers the replies of one connection. Never are two sends in flight on one stream; what becomes ready meanwhile leaves
 * with the next one.
 *
 *     headers  | reply 0 | reply 1 | reply 2 | …        rewritten for each send
 *     parts      header 0, data 0, headers 1 and 2 (writes), …
 */
export class ReplyQueue {
  readonly #options: ReplyQueueOptions;
  readonly #headers: Uint8Array;
  /** One view a header, made once: a view costs 24 to 36 ns. */
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
    const count = Math.floor(options.headers.length / simpleReplyBytes);
    this.#headerViews = Array.from({ length: count }, (_, slot) => this.#headerRun(slot, slot + 1));
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
    for (let slot = 0; slot < batch.length; slot += 1) {
      const request = batch[slot]!;
      const { errno, cookieHigh, cookieLow } = request;
      encodeSimpleReply(this.#headers, slot * simpleReplyBytes, errno, cookieHigh, cookieLow);
      if (request.command !== Command.read || errno !== WireError.none) continue;
      assert(request.piece !== undefined, 'ReplyQueue: a good read has its data');
      parts.push(this.#headersOf(runStart, slot + 1), request.piece);
      runStart = slot + 1;
    }
    if (runStart < batch.length) parts.push(this.#headersOf(runStart, batch.length));
  }

  #headersOf(fromSlot: number, toSlot: number): Uint8Array {
    return toSlot - fromSlot === 1 ? this.#headerViews[fromSlot]! : this.#headerRun(fromSlot, toSlot);
  }

  #headerRun(fromSlot: number, toSlot: number): Uint8Array {
    return this.#headers.subarray(fromSlot * simpleReplyBytes, toSlot * simpleReplyBytes);
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
