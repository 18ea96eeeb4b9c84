import type { BlockDevice } from '../block/block-device.ts';
import { Errno } from '../block/errno.ts';
import type { FuseChannel } from '../io/fuse-channel.ts';
import { Command } from '../nbd/constants.ts';
import { countDone, NbdCounter } from '../nbd/counters.ts';
import type { MemoryShare } from '../nbd/memory-share.ts';
import { notUnderWay, type RequestAges, type ShowRequest } from '../nbd/request-ages.ts';
import type { UnfinishedWrites } from '../nbd/unfinished-writes.ts';
import { wireErrorOf } from '../nbd/wire-error.ts';
import { FuseReplyEncoder, type FuseReplyTo } from './codec.ts';
import { FuseRequest, noTicket } from './request.ts';

export interface RequestsUnderWayOptions {
  readonly channel: FuseChannel;
  readonly device: BlockDevice;
  /** Takes back the memory of requests. */
  readonly share: MemoryShare;
  /** Of all clients of the server. */
  readonly ages: RequestAges;
  readonly counters: Float64Array;
  /** Of all clients of the export. */
  readonly unfinishedWrites: UnfinishedWrites;
  /** Called when a request is over. */
  readonly onEnd: () => void;
}

/** What the kernel asks for, as the device is asked for it. */
export interface DeviceCall extends FuseReplyTo {
  /** The NBD server's number for it. */
  readonly command: number;
  readonly offset: number;
  readonly length: number;
  /** A write's payload, or memory for a read's answer; given back with the answer. */
  readonly piece?: Uint8Array;
}

/** The requests of one kernel client between being taken and being answered: their device calls and their memory. */
export class RequestsUnderWay {
  readonly replies: FuseReplyEncoder = new FuseReplyEncoder();
  readonly #options: RequestsUnderWayOptions;
  readonly #client: number;
  readonly #idle: FuseRequest[] = [];
  /** All there are, in the pool or not. */
  readonly #made: FuseRequest[] = [];
  #count = 0;
  /** The device's `flushEpoch` that this client knows of. */
  #flushEpoch: number | undefined;
  #abandoned = false;
  /** When the request was taken from the kernel that is started next. */
  receivedMs = 0;

  constructor(options: RequestsUnderWayOptions) {
    this.#options = options;
    this.#client = options.unfinishedWrites.newConnection();
    this.#flushEpoch = options.device.flushEpoch;
  }

  get count(): number {
    return this.#count;
  }

  /** R7: this client has not heard yet of a flush that failed. */
  get owesFlushFailure(): boolean {
    return this.#flushEpoch !== this.#options.device.flushEpoch;
  }

  showAll(show: ShowRequest): void {
    for (const request of this.#made) if (request.startedTick !== notUnderWay) show(request);
  }

  /** No answers any more, the kernel has given its own; device calls still finish. */
  abandon(): void {
    this.#abandoned = true;
  }

  /** None is left, and none will come. */
  close(): void {
    this.#options.unfinishedWrites.connectionEnded(this.#client);
  }

  answer(head: Uint8Array, data?: Uint8Array): void {
    if (!this.#abandoned) this.#options.channel.reply(head, data);
  }

  /** Asks the device, with `ioFlags` for zeroes; the answer leaves when it settles. The piece was the last that was taken. */
  start(call: DeviceCall, ioFlags: number): void {
    const request = this.#admit(call);
    const { device, unfinishedWrites } = this.#options;
    const { command, piece, offset, length } = request;
    if (command === Command.flush) request.follow(device.flush());
    else if (command === Command.read) request.follow(device.read(piece!, offset));
    else {
      request.writeTicket = unfinishedWrites.begin(this.#client, offset, length);
      // What throws in it is our bug, and ends the process.
      if (unfinishedWrites.mustWait(request.writeTicket)) void this.#startBehindOthers(request, ioFlags);
      else this.#change(request, ioFlags);
    }
  }

  /** A write of another client, perhaps of one that is gone, is still under way on these bytes: it must land first. */
  async #startBehindOthers(request: FuseRequest, ioFlags: number): Promise<void> {
    const { unfinishedWrites } = this.#options;
    request.isBehindOthers = true;
    while (unfinishedWrites.mustWait(request.writeTicket)) await unfinishedWrites.change();
    request.isBehindOthers = false;
    this.#change(request, ioFlags);
  }

  #change(request: FuseRequest, ioFlags: number): void {
    const { device } = this.#options;
    const { piece, offset, length } = request;
    request.follow(
      piece === undefined ? device.writeZeroes(offset, length, ioFlags) : device.write(piece, offset),
    );
  }

  #admit(call: DeviceCall): FuseRequest {
    const request = this.#idle.pop() ?? this.#makeRequest();
    request.command = call.command;
    request.uniqueLow = call.uniqueLow;
    request.uniqueHigh = call.uniqueHigh;
    request.offset = call.offset;
    request.length = call.length;
    request.piece = call.piece;
    request.takenAt = this.#options.share.takenAt;
    request.failure = undefined;
    request.startedTick = this.#options.ages.start();
    request.receivedMs = this.receivedMs;
    this.#count += 1;
    return request;
  }

  #makeRequest(): FuseRequest {
    const request = new FuseRequest(this);
    this.#made.push(request);
    return request;
  }

  /** A request has its result. For `FuseRequest`. */
  settled(request: FuseRequest): void {
    const { unfinishedWrites, counters, ages, onEnd } = this.#options;
    if (request.writeTicket !== noTicket) unfinishedWrites.end(request.writeTicket);
    request.writeTicket = noTicket;
    const errno = this.#errnoOf(request);
    if (errno === 0) countDone(counters, request);
    else counters[NbdCounter.errors]! += 1;
    ages.latencies.record(request);
    this.#replyTo(request, errno);
    this.#giveBack(request);
    request.startedTick = notUnderWay;
    this.#idle.push(request);
    this.#count -= 1;
    onEnd();
  }

  #errnoOf(request: FuseRequest): number {
    const { device } = this.#options;
    const failed = request.failure;
    if (request.command === Command.flush && this.#flushEpoch !== device.flushEpoch) {
      // R7: a flush that failed, for whomever, put this client's writes in doubt too: its next one says so, once.
      this.#flushEpoch = device.flushEpoch;
      return Errno.EIO;
    }
    // The wire's numbers are the kernel's.
    return failed === undefined ? 0 : wireErrorOf(failed, request.command === Command.writeZeroes);
  }

  #replyTo(request: FuseRequest, errno: number): void {
    const { command, piece, length } = request;
    if (errno !== 0) this.answer(this.replies.plain(request, errno));
    else if (command === Command.read) this.answer(this.replies.data(request, length), piece);
    else if (command === Command.write) this.answer(this.replies.written(request, length));
    else this.answer(this.replies.plain(request, 0));
  }

  /** A deadline answers for a disk that may still have the memory (I27). */
  #giveBack(request: FuseRequest): void {
    const { share } = this.#options;
    const { piece, takenAt } = request;
    request.piece = undefined;
    if (piece === undefined) return;
    if (request.failure === undefined) share.release(piece, takenAt);
    else share.releaseWhenUnshared(piece, takenAt);
  }
}
