import { type BlockDevice, IoFlags } from '../block/block-device.ts';
import type { ByteStream } from '../io/byte-stream.ts';
import { ClientRequest, noTicket } from './client-request.ts';
import type { RequestDecoder } from './codec.ts';
import { Command, CommandFlag, WireError } from './constants.ts';
import { NbdCounter } from './counters.ts';
import type { NbdLimits } from './limits.ts';
import type { MemoryShare } from './memory-share.ts';
import { ReplyQueue } from './reply-queue.ts';
import type { UnfinishedWrites } from './unfinished-writes.ts';

export interface RequestsInFlightOptions {
  readonly stream: ByteStream;
  readonly device: BlockDevice;
  /** Gives and takes back the memory of the connection's requests. */
  readonly share: MemoryShare;
  /** Of all connections to the export. */
  readonly unfinishedWrites: UnfinishedWrites;
  readonly limits: NbdLimits;
  readonly counters: Float64Array;
  /** Room for the headers of one send: 16 bytes for each of `requestsInFlightMax`. */
  readonly headers: Uint8Array;
}

/**
 * The requests of one connection between parsing and the end of their reply: their calls to the device, their memory,
 * their share of the limits. One party at a time may wait for a change.
 */
export class RequestsInFlight {
  readonly #device: BlockDevice;
  readonly #share: MemoryShare;
  readonly #unfinished: UnfinishedWrites;
  readonly #connection: number;
  readonly #limits: NbdLimits;
  readonly #counters: Float64Array;
  readonly #replies: ReplyQueue;
  readonly #idle: ClientRequest[] = [];
  /** The device's `flushEpoch` that this client knows of. */
  #flushEpoch: number | undefined;
  #count = 0;
  #bytes = 0;
  #wake: (() => void) | undefined;
  /** Called whenever the last request is over. */
  onIdle: (() => void) | undefined = undefined;

  constructor(options: RequestsInFlightOptions) {
    this.#device = options.device;
    this.#flushEpoch = options.device.flushEpoch;
    this.#share = options.share;
    this.#unfinished = options.unfinishedWrites;
    this.#connection = options.unfinishedWrites.newConnection();
    this.#limits = options.limits;
    this.#counters = options.counters;
    this.#replies = new ReplyQueue({
      stream: options.stream,
      headers: options.headers,
      onReplied: (request) => this.#replied(request),
      onBatchEnd: () => {
        if (this.#count === 0) this.onIdle?.();
        this.wakeUp();
      },
    });
  }

  get count(): number {
    return this.#count;
  }

  /** Payload of all of them. */
  get bytes(): number {
    return this.#bytes;
  }

  get sendInFlight(): boolean {
    return this.#replies.sendInFlight;
  }

  get sendCount(): number {
    return this.#replies.sendCount;
  }

  /** Whether the limits allow one more request, with `length` bytes of payload. */
  hasRoom(length: number): boolean {
    if (this.#count >= this.#limits.requestsInFlightMax) return false;
    // What has no payload waits for none.
    return length === 0 || this.#bytes === 0 || this.#bytes + length <= this.#limits.bytesInFlightMax;
  }

  /** Resolves when replies have left, or at `wakeUp`. */
  change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  wakeUp(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  /** No request is left, and none will come. */
  close(): void {
    this.#unfinished.connectionEnded(this.#connection);
  }

  /** Drops the replies of all requests, now and later; their device calls still finish. */
  abandonReplies(): void {
    this.#replies.abandon();
  }

  /** Starts the read or write that `header` asks for, with the piece that was taken last; it is released when it is over. */
  startTransfer(header: RequestDecoder, piece: Uint8Array): void {
    const request = this.#admit(header, piece.length);
    request.piece = piece;
    request.takenAt = this.#share.takenAt;
    const { offset, length } = request;
    if (request.command !== Command.write) this.#start(request, piece);
    else if (this.#unfinished.overlapsOthers(this.#connection, offset, length)) {
      // What throws here is our bug, and ends the process.
      void this.#startBehindOthers(request, piece);
    } else {
      request.writeTicket = this.#unfinished.begin(this.#connection, offset, length);
      this.#start(request, piece);
    }
  }

  /** A write of another connection, perhaps of one that is gone, is still under way on these bytes: it must land first. */
  async #startBehindOthers(request: ClientRequest, piece: Uint8Array): Promise<void> {
    const { offset, length } = request;
    while (this.#unfinished.overlapsOthers(this.#connection, offset, length)) await this.#unfinished.change();
    request.writeTicket = this.#unfinished.begin(this.#connection, offset, length);
    this.#start(request, piece);
  }

  #start(request: ClientRequest, piece: Uint8Array): void {
    const partBytes = this.#limits.deviceRequestBytesMax;
    if (piece.length <= partBytes) {
      request.expectParts(1);
      request.follow(this.#callDevice(request, piece, request.offset));
      return;
    }
    request.expectParts(Math.ceil(piece.length / partBytes));
    for (let at = 0; at < piece.length; at += partBytes) {
      request.follow(this.#callDevice(request, piece.subarray(at, at + partBytes), request.offset + at));
    }
  }

  startFlush(header: RequestDecoder): void {
    const request = this.#admit(header, 0);
    request.expectParts(1);
    request.follow(this.#device.flush());
  }

  /** Answers `header` with an error, without asking the device. */
  refuse(header: RequestDecoder, errno: WireError): void {
    const request = this.#admit(header, 0);
    request.errno = errno;
    this.settled(request);
  }

  /** A request has its result. For `ClientRequest`. */
  settled(request: ClientRequest): void {
    if (request.writeTicket >= 0) this.#unfinished.end(request.writeTicket);
    request.writeTicket = noTicket;
    const durable = request.command === Command.write && request.ioFlags !== IoFlags.none;
    if (durable || request.command === Command.flush) this.#tellOfFailedFlush(request);
    const counters = this.#counters;
    if (request.errno !== WireError.none) {
      counters[NbdCounter.errors]! += 1;
      this.#giveBackFailed(request);
    } else if (request.command === Command.read) {
      counters[NbdCounter.reads]! += 1;
      counters[NbdCounter.bytesRead]! += request.length;
    } else if (request.command === Command.write) {
      counters[NbdCounter.writes]! += 1;
      counters[NbdCounter.bytesWritten]! += request.length;
      this.#releasePiece(request);
    } else {
      counters[NbdCounter.flushes]! += 1;
    }
    this.#replies.push(request);
  }

  /** R7: a flush that failed, for whomever, put this client's writes in doubt too: its next FLUSH or FUA says so, once. */
  #tellOfFailedFlush(request: ClientRequest): void {
    const flushEpoch = this.#device.flushEpoch;
    if (flushEpoch === this.#flushEpoch) return;
    this.#flushEpoch = flushEpoch;
    if (request.errno === WireError.none) request.errno = WireError.EIO;
  }

  #admit(header: RequestDecoder, length: number): ClientRequest {
    const request = this.#idle.pop() ?? new ClientRequest(this);
    request.command = header.command;
    request.ioFlags = (header.flags & CommandFlag.fua) === 0 ? IoFlags.none : IoFlags.fua;
    request.cookieHigh = header.cookieHigh;
    request.cookieLow = header.cookieLow;
    request.offset = header.offset;
    request.length = length;
    request.errno = WireError.none;
    this.#count += 1;
    this.#bytes += length;
    return request;
  }

  #callDevice(request: ClientRequest, part: Uint8Array, offset: number): Promise<void> {
    return request.command === Command.read
      ? this.#device.read(part, offset)
      : this.#device.write(part, offset, request.ioFlags);
  }

  #replied(request: ClientRequest): void {
    this.#releasePiece(request);
    this.#count -= 1;
    this.#bytes -= request.length;
    this.#idle.push(request);
  }

  #releasePiece(request: ClientRequest): void {
    if (request.piece === undefined) return;
    this.#share.release(request.piece, request.takenAt);
    request.piece = undefined;
  }

  /** A deadline answers for a disk that may still have the memory (I27). */
  #giveBackFailed(request: ClientRequest): void {
    if (request.piece === undefined) return;
    this.#share.releaseWhenUnshared(request.piece, request.takenAt);
    request.piece = undefined;
  }
}
