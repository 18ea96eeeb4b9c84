import { assert } from '../block/assert.ts';
import { type BlockDevice, IoFlags } from '../block/block-device.ts';
import type { ByteStream } from '../io/byte-stream.ts';
import { blockStatusReply } from './block-status.ts';
import { ClientRequest, noTicket } from './client-request.ts';
import type { RequestDecoder } from './codec.ts';
import { Command, CommandFlag, WireError } from './constants.ts';
import { countDone, NbdCounter } from './counters.ts';
import type { NbdLimits } from './limits.ts';
import type { MemoryShare } from './memory-share.ts';
import type { MetaContext } from './meta-contexts.ts';
import { failedReadReply } from './read-reply.ts';
import { ReplyQueue } from './reply-queue.ts';
import { notUnderWay, type RequestAges, type ShowRequest } from './request-ages.ts';
import { changesBytes } from './request-validator.ts';
import type { UnfinishedWrites } from './unfinished-writes.ts';

export interface RequestsInFlightOptions {
  readonly stream: ByteStream;
  readonly device: BlockDevice;
  /** Gives and takes back the memory of the connection's requests. */
  readonly share: MemoryShare;
  /** Of all connections to the export. */
  readonly unfinishedWrites: UnfinishedWrites;
  /** Of all connections. */
  readonly ages: RequestAges;
  readonly limits: NbdLimits;
  readonly counters: Float64Array;
  readonly structuredReplies: boolean;
  /** For BLOCK_STATUS. */
  readonly contexts: readonly MetaContext[];
  /** Room for the headers of one send: `dataChunkBytes` for each of `requestsInFlightMax`. */
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
  readonly #structuredReplies: boolean;
  readonly #contexts: readonly MetaContext[];
  readonly #replies: ReplyQueue;
  readonly #idle: ClientRequest[] = [];
  readonly #ages: RequestAges;
  /** All there are, in the pool or not: at most `requestsInFlightMax`. */
  readonly #made: ClientRequest[] = [];
  /** The device's `flushEpoch` that this client knows of. */
  #flushEpoch: number | undefined;
  #count = 0;
  #bytes = 0;
  #wake: (() => void) | undefined;
  /** When the bytes came of which requests are started now. */
  receivedMs: number;
  /** Called whenever the last request is over. */
  onIdle: (() => void) | undefined = undefined;

  constructor(options: RequestsInFlightOptions) {
    this.#device = options.device;
    this.#flushEpoch = options.device.flushEpoch;
    this.#share = options.share;
    this.#unfinished = options.unfinishedWrites;
    this.#connection = options.unfinishedWrites.newConnection();
    this.#ages = options.ages;
    this.receivedMs = options.ages.latencies.nowMs();
    this.#limits = options.limits;
    this.#counters = options.counters;
    this.#structuredReplies = options.structuredReplies;
    this.#contexts = options.contexts;
    this.#replies = new ReplyQueue({
      stream: options.stream,
      structuredReplies: options.structuredReplies,
      headers: options.headers,
      latencies: options.ages.latencies,
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

  /** Whether the limits allow one more request, with a piece of `length` bytes. */
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

  /** Shows every request that is under way. */
  showAll(show: ShowRequest): void {
    for (const request of this.#made) if (request.startedTick !== notUnderWay) show(request);
  }

  /** Drops the replies of all requests, now and later; their device calls still finish. */
  abandonReplies(): void {
    this.#replies.abandon();
  }

  /** Starts what `header` asks for; the piece, where it needs one, was taken last and is released when it is over. */
  start(header: RequestDecoder, piece?: Uint8Array): void {
    const request = this.#admit(header, piece?.length ?? 0);
    request.piece = piece;
    request.takenAt = this.#share.takenAt;
    if (changesBytes(request.command)) {
      request.writeTicket = this.#unfinished.begin(this.#connection, request.offset, request.length);
      if (this.#unfinished.mustWait(request.writeTicket)) {
        // What throws here is our bug, and ends the process.
        void this.#startBehindOthers(request);
        return;
      }
    }
    this.#callDevice(request);
  }

  /** A write of another connection, perhaps of one that is gone, is still under way on these bytes: it must land first. */
  async #startBehindOthers(request: ClientRequest): Promise<void> {
    request.isBehindOthers = true;
    while (this.#unfinished.mustWait(request.writeTicket)) await this.#unfinished.change();
    request.isBehindOthers = false;
    this.#callDevice(request);
  }

  #callDevice(request: ClientRequest): void {
    const { command, piece, offset } = request;
    const partBytes = this.#limits.deviceRequestBytesMax;
    if (command !== Command.read && command !== Command.write) {
      request.expectParts(1);
      request.follow(this.#runCommand(request));
      return;
    }
    assert(piece !== undefined, 'RequestsInFlight: a read or write has its piece');
    if (piece.length <= partBytes) {
      request.expectParts(1);
      request.follow(this.#transfer(request, piece, offset));
      return;
    }
    request.expectParts(Math.ceil(piece.length / partBytes));
    for (let at = 0; at < piece.length; at += partBytes) {
      const part = piece.subarray(at, at + partBytes);
      request.followPart(this.#transfer(request, part, offset + at), offset + at, part.length);
    }
  }

  #transfer(request: ClientRequest, part: Uint8Array, offset: number): Promise<void> {
    return request.command === Command.read
      ? this.#device.read(part, offset)
      : this.#device.write(part, offset, request.ioFlags);
  }

  /** Lengths go up to 2^32 - 1: the device works on such a range in bounded pieces, and holds up nobody else. */
  #runCommand(request: ClientRequest): Promise<void> {
    const { command, offset, length, ioFlags } = request;
    switch (command) {
      case Command.flush:
        return this.#device.flush();
      case Command.trim:
        return this.#trim(offset, length, ioFlags);
      case Command.writeZeroes:
        return this.#device.writeZeroes(offset, length, ioFlags);
      case Command.blockStatus:
        return this.#blockStatus(request);
      default:
        // CACHE: the disk has its own cache, and reads must tell what the disk says when they come.
        assert(command === Command.cache, `RequestsInFlight: command ${command} was not refused`);
        return Promise.resolve();
    }
  }

  /** A discard has no FUA of its own; a flush covers it, as it covers a write. */
  async #trim(offset: number, length: number, ioFlags: number): Promise<void> {
    await this.#device.discard(offset, length);
    if ((ioFlags & IoFlags.fua) !== 0) await this.#device.flush();
  }

  async #blockStatus(request: ClientRequest): Promise<void> {
    assert(request.piece !== undefined, 'RequestsInFlight: BLOCK_STATUS has its piece');
    request.reply = [await blockStatusReply(this.#device, request, this.#contexts, request.piece)];
  }

  /** Answers `header` with an error, without asking the device. */
  refuse(header: RequestDecoder, errno: WireError): void {
    const request = this.#admit(header, 0);
    request.errno = errno;
    this.settled(request);
  }

  /** A request has its result. For `ClientRequest`. */
  settled(request: ClientRequest): void {
    const { command } = request;
    if (request.writeTicket >= 0) this.#unfinished.end(request.writeTicket);
    request.writeTicket = noTicket;
    const durable = (request.ioFlags & IoFlags.fua) !== 0 && changesBytes(command);
    if (durable || command === Command.flush) this.#tellOfFailedFlush(request);
    if (request.errno !== WireError.none) {
      this.#settleFailed(request);
    } else {
      countDone(this.#counters, request);
      if (command === Command.write) this.#releasePiece(request);
    }
    this.#replies.push(request);
  }

  /** With structured replies what is good of a read is delivered, and its memory is needed until then. */
  #settleFailed(request: ClientRequest): void {
    const { piece, failed } = request;
    this.#counters[NbdCounter.errors]! += 1;
    if (this.#structuredReplies && piece !== undefined && failed.length > 0) {
      request.reply = failedReadReply(request, piece, failed);
      if (request.reply.length > 1) {
        this.#counters[NbdCounter.partialReads]! += 1;
        return;
      }
    }
    this.#giveBackFailed(request);
  }

  /** R7: this client has not heard yet of a flush that failed. */
  get owesFlushFailure(): boolean {
    return this.#flushEpoch !== this.#device.flushEpoch;
  }

  /** R7: a flush that failed, for whomever, put this client's writes in doubt too: its next FLUSH or FUA says so, once. */
  #tellOfFailedFlush(request: ClientRequest): void {
    const flushEpoch = this.#device.flushEpoch;
    if (flushEpoch === this.#flushEpoch) return;
    // Of another failure, that of an ill-formed request for one, a client learns nothing about what it wrote before.
    const isTold = request.command === Command.flush && request.errno === WireError.EIO;
    if (request.errno !== WireError.none && !isTold) return;
    this.#flushEpoch = flushEpoch;
    request.errno = WireError.EIO;
  }

  #admit(header: RequestDecoder, pieceBytes: number): ClientRequest {
    const request = this.#idle.pop() ?? this.#makeRequest();
    request.startedTick = this.#ages.start();
    request.receivedMs = this.receivedMs;
    request.command = header.command;
    request.flags = header.flags;
    request.ioFlags = header.flags === 0 ? IoFlags.none : ioFlagsOf(header.flags);
    request.cookieHigh = header.cookieHigh;
    request.cookieLow = header.cookieLow;
    request.offset = header.offset;
    request.length = header.length;
    request.errno = WireError.none;
    request.pieceBytes = pieceBytes;
    request.reply = undefined;
    if (request.failed.length > 0) request.failed.length = 0;
    this.#count += 1;
    this.#bytes += pieceBytes;
    return request;
  }

  #makeRequest(): ClientRequest {
    const request = new ClientRequest(this);
    this.#made.push(request);
    return request;
  }

  #replied(request: ClientRequest): void {
    if (request.errno === WireError.none) this.#releasePiece(request);
    else this.#giveBackFailed(request);
    this.#count -= 1;
    this.#bytes -= request.pieceBytes;
    request.startedTick = notUnderWay;
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

function ioFlagsOf(flags: number): number {
  return (
    ((flags & CommandFlag.fua) === 0 ? IoFlags.none : IoFlags.fua) |
    ((flags & CommandFlag.noHole) === 0 ? IoFlags.none : IoFlags.keepAllocated) |
    ((flags & CommandFlag.fastZero) === 0 ? IoFlags.none : IoFlags.onlyIfFast)
  );
}
