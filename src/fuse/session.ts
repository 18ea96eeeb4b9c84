import { assert } from '../block/assert.ts';
import { type BlockDevice, IoFlags } from '../block/block-device.ts';
import { Errno } from '../block/errno.ts';
import type { FuseChannel } from '../io/fuse-channel.ts';
import { Command, WireError } from '../nbd/constants.ts';
import type { ExportDescription } from '../nbd/export-description.ts';
import { MemoryShare } from '../nbd/memory-share.ts';
import type { OtherClient } from '../nbd/other-client.ts';
import { notUnderWay, type RequestAges, type ShowRequest } from '../nbd/request-ages.ts';
import type { RequestMemory } from '../nbd/request-memory.ts';
import { type RequestRules, requestRules, validateRequest } from '../nbd/request-validator.ts';
import type { UnfinishedWrites } from '../nbd/unfinished-writes.ts';
import { FuseRequestDecoder } from './codec.ts';
import {
  FallocateMode,
  FuseOpcode,
  fuseMajor,
  fuseMinor,
  fuseTransferBytesMax,
  inHeaderBytes,
  writeInBytes,
} from './constants.ts';
import { RequestsUnderWay } from './requests-under-way.ts';

export interface FuseSessionOptions {
  readonly channel: FuseChannel;
  readonly device: BlockDevice;
  readonly exported: ExportDescription;
  /** Of all clients of the server. */
  readonly memory: RequestMemory;
  readonly ages: RequestAges;
  readonly counters: Float64Array;
  /** Of all clients of the export. */
  readonly unfinishedWrites: UnfinishedWrites;
  /** Called once, when nothing of the session is left. */
  readonly onEnd?: () => void;
}

/** Asynchronous requests that the kernel may have with us at once; it keeps the others. A loop device sends up to 128. */
export const fuseRequestsMax = 128;
/** With those that somebody waits for: they are not counted among the former. */
const requestsUnderWayMax: number = fuseRequestsMax + 32;

/** Requests that are taken in one turn of the event loop before the server's other clients have theirs. */
const requestsPerTurnMax = 32;

const punchHole: number = FallocateMode.punchHole | FallocateMode.keepSize;
const zeroRange: number = FallocateMode.zeroRange | FallocateMode.keepSize;

/** linux/include/uapi/asm-generic/fcntl.h */
const accessModeMask = 3;
const readOnlyAccess = 0;

/**
 * The kernel as a client: one regular file, the export, for a loop device over it.
 *
 * It is one more client of the NBD server's: the same validator, memory (R36), order of writes across clients, ages, counters,
 * suspension and closing. What differs is the ABI, and that nothing is ever half received: requests are taken whole, and what
 * may not start yet stays in the kernel.
 *
 * A punched hole is zeroes, not a discard: the loop driver sends both discards and write-zeroes as FALLOC_FL_PUNCH_HOLE
 * (drivers/block/loop.c, do_req_filebacked), and a file system that asked for zeroes relies on them. So it is offered where
 * zeroing is cheap, and elsewhere refused, which the block layer takes for a disk that knows neither.
 *
 * FSYNC covers every write that was answered before it was taken, as R22 asks of FLUSH, by the same argument: replies are sent
 * after the device's promise has settled, and `flush` is called after FSYNC was taken.
 */
export class FuseSession implements OtherClient {
  readonly #channel: FuseChannel;
  readonly #device: BlockDevice;
  readonly #exported: ExportDescription;
  readonly #rules: RequestRules;
  readonly #share: MemoryShare;
  readonly #ages: RequestAges;
  readonly #tellEnd: () => void;
  readonly #requests: RequestsUnderWay;
  readonly #decoder: FuseRequestDecoder = new FuseRequestDecoder();
  #seen = 0;
  #seenBefore = 0;
  #hasClient = false;
  #suspended = false;
  #refusing = false;
  #draining = false;
  #closed = false;
  /** When the request came that waits for memory; one at a time. */
  #waitingSinceTick: number = notUnderWay;
  #wake: (() => void) | undefined;

  constructor(options: FuseSessionOptions) {
    const { channel, device, exported, memory, ages } = options;
    assert(
      exported.maximumPayloadBytes >= fuseTransferBytesMax,
      'FuseSession: too little memory for a request',
    );
    this.#channel = channel;
    this.#device = device;
    this.#exported = exported;
    this.#rules = requestRules(exported, false);
    this.#share = new MemoryShare(memory);
    this.#ages = ages;
    this.#tellEnd = options.onEnd ?? (() => undefined);
    this.#requests = new RequestsUnderWay({ ...options, share: this.#share, onEnd: () => this.#onEnd() });
  }

  get peer(): string {
    return this.#channel.peer;
  }

  /** From the first open of the file until the kernel lets go of it. */
  get hasClient(): boolean {
    return this.#hasClient;
  }

  get requestsInFlight(): number {
    return this.#requests.count;
  }

  get owesFlushFailure(): boolean {
    return this.#requests.owesFlushFailure;
  }

  get isBusy(): boolean {
    return this.#requests.count > 0 || this.#waitingSinceTick !== notUnderWay;
  }

  showUnanswered(show: ShowRequest): void {
    this.#requests.showAll(show);
    if (this.#waitingSinceTick === notUnderWay) return;
    const { opcode, offset, length } = this.#decoder;
    const command = opcode === FuseOpcode.write ? Command.write : Command.read;
    show({ command, offset, length, startedTick: this.#waitingSinceTick, phase: 'memory' });
  }

  /** Serves until the kernel has let go of the file, or it is closed here; resolves when the device has answered all. */
  async run(): Promise<undefined> {
    await this.#serve();
    this.#close();
    while (this.#requests.count > 0) await this.#change();
    this.#requests.close();
    this.#share.close();
    this.#tellEnd();
  }

  /** R30: nothing more is taken from the kernel until `resume`. */
  suspend(): void {
    this.#suspended = true;
  }

  resume(): void {
    this.#suspended = false;
    this.#wakeUp();
  }

  /** What comes is answered with an error from now on, without asking the device. */
  refuse(): void {
    this.#refusing = true;
    this.#seenBefore = this.#seen;
    this.#share.stopWaiting();
    this.resume();
  }

  becomesQuiet(): boolean {
    const quiet = this.#seen === this.#seenBefore && !this.isBusy;
    this.#seenBefore = this.#seen;
    return quiet;
  }

  /** Nothing more is taken; what is under way is answered, then the kernel answers the rest itself. */
  drain(): void {
    this.#draining = true;
    this.#share.stopWaiting();
    if (this.#requests.count === 0) this.#close();
    this.#wakeUp();
  }

  drop(): void {
    this.#draining = true;
    this.#share.stopWaiting();
    this.#close();
  }

  async #serve(): Promise<void> {
    for (let inTurn = 0; !this.#draining; ) {
      if (this.#suspended || this.#requests.count >= requestsUnderWayMax) {
        await this.#change();
        continue;
      }
      const length = inTurn < requestsPerTurnMax ? this.#channel.receive() : 0;
      if (length < 0) return;
      if (length === 0) {
        inTurn = 0;
        await this.#readable();
        continue;
      }
      inTurn += 1;
      this.#seen += 1;
      this.#requests.receivedMs = this.#ages.latencies.nowMs();
      const isRequest = this.#decoder.decode(this.#channel.incoming.subarray(0, length));
      if (!isRequest) this.#refuse(Errno.EINVAL);
      else if (!(await this.#handle())) return;
    }
  }

  /** False when nothing more is to be served. */
  async #handle(): Promise<boolean> {
    const { opcode } = this.#decoder;
    switch (opcode) {
      case FuseOpcode.read:
      case FuseOpcode.write:
        await this.#transfer(opcode === FuseOpcode.read ? Command.read : Command.write);
        return true;
      case FuseOpcode.fsync:
        this.#start(Command.flush, IoFlags.none);
        return true;
      case FuseOpcode.fallocate:
        this.#allocate();
        return true;
      case FuseOpcode.forget:
      case FuseOpcode.batchForget:
      case FuseOpcode.interrupt:
        // The kernel waits for no answer to these. What is interrupted goes on.
        return true;
      case FuseOpcode.init:
        return this.#init();
      case FuseOpcode.destroy:
        this.#refuse(0);
        return false;
      default:
        this.#handleFile(opcode);
        return true;
    }
  }

  /** What is about the file and not about its bytes. */
  #handleFile(opcode: number): void {
    const { sizeBytes, preferredBlockBytes } = this.#exported;
    const { replies } = this.#requests;
    switch (opcode) {
      case FuseOpcode.getattr:
        this.#requests.answer(replies.attributes(this.#decoder, sizeBytes, preferredBlockBytes));
        break;
      case FuseOpcode.open:
        this.#open();
        break;
      case FuseOpcode.statfs:
        this.#statfs();
        break;
      case FuseOpcode.release:
        this.#refuse(0);
        break;
      case FuseOpcode.lookup:
        this.#refuse(Errno.ENOENT);
        break;
      default:
        this.#refuse(Errno.ENOSYS);
    }
  }

  #init(): boolean {
    const { major, minor } = this.#decoder;
    const isKnown = major === fuseMajor && minor >= fuseMinor;
    if (isKnown) this.#requests.answer(this.#requests.replies.init(this.#decoder, fuseRequestsMax));
    else this.#refuse(Errno.EOPNOTSUPP);
    return isKnown;
  }

  #open(): void {
    if (this.#rules.readOnly && (this.#decoder.flags & accessModeMask) !== readOnlyAccess) {
      this.#refuse(Errno.EROFS);
      return;
    }
    this.#hasClient = true;
    this.#requests.answer(this.#requests.replies.opened(this.#decoder));
    this.#channel.opened();
  }

  /** Without an answer to it the loop driver offers no discard, and so no write-zeroes. */
  #statfs(): void {
    const { physicalBlockBytes } = this.#device.geometry;
    const { sizeBytes } = this.#exported;
    if (!this.#zeroesFast) this.#refuse(Errno.EOPNOTSUPP);
    else this.#requests.answer(this.#requests.replies.statfs(this.#decoder, sizeBytes, physicalBlockBytes));
  }

  get #zeroesFast(): boolean {
    return !this.#rules.readOnly && this.#device.capabilities.fastZeroes;
  }

  #allocate(): void {
    const { flags } = this.#decoder;
    if ((flags !== punchHole && flags !== zeroRange) || !this.#zeroesFast) this.#refuse(Errno.EOPNOTSUPP);
    else this.#start(Command.writeZeroes, flags === zeroRange ? IoFlags.keepAllocated : IoFlags.none);
  }

  #start(command: number, ioFlags: number): void {
    const { uniqueLow, uniqueHigh, offset, length } = this.#decoder;
    const refusal = this.#refusalOf(command, length);
    if (refusal !== WireError.none) this.#refuse(refusal);
    else this.#requests.start({ command, uniqueLow, uniqueHigh, offset, length }, ioFlags);
  }

  async #transfer(command: number): Promise<void> {
    const { uniqueLow, uniqueHigh, offset } = this.#decoder;
    // A file ends: a read over its end is short.
    const left =
      command === Command.read ? Math.max(0, this.#rules.sizeBytes - offset) : Number.POSITIVE_INFINITY;
    const length = Math.min(this.#decoder.length, left);
    if (length === 0) {
      this.#refuse(0);
      return;
    }
    const refusal = this.#refusalOf(command, length);
    if (refusal !== WireError.none) {
      this.#refuse(refusal);
      return;
    }
    const piece = this.#share.take(length) ?? (await this.#whenFree(length));
    if (piece === undefined) {
      this.#refuse(WireError.ESHUTDOWN);
      return;
    }
    if (command === Command.write) {
      const payloadAt = inHeaderBytes + writeInBytes;
      piece.set(this.#channel.incoming.subarray(payloadAt, payloadAt + length));
    }
    this.#requests.start({ command, uniqueLow, uniqueHigh, offset, length, piece }, IoFlags.none);
  }

  #refusalOf(command: number, length: number): WireError {
    if (this.#refusing) return WireError.ESHUTDOWN;
    return validateRequest(this.#rules, { command, flags: 0, offset: this.#decoder.offset, length });
  }

  /** Answers the request that was taken last, with a positive errno or 0. */
  #refuse(errno: number): void {
    this.#requests.answer(this.#requests.replies.plain(this.#decoder, errno));
  }

  /** Undefined when the session refuses or ends meanwhile. The kernel keeps what comes behind it. */
  async #whenFree(length: number): Promise<Uint8Array | undefined> {
    this.#waitingSinceTick = this.#ages.start();
    const piece = await this.#share.whenFree(length);
    this.#waitingSinceTick = notUnderWay;
    if (piece === undefined || (!this.#refusing && !this.#draining)) return piece;
    this.#share.release(piece, this.#share.takenAt);
    return undefined;
  }

  #onEnd(): void {
    if (this.#draining && this.#requests.count === 0) this.#close();
    this.#wakeUp();
  }

  #close(): void {
    this.#closed = true;
    this.#hasClient = false;
    this.#requests.abandon();
    this.#channel.close();
    this.#wakeUp();
  }

  /** Resolves when there may be something to take, or at `#wakeUp`. */
  #readable(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#channel.watchOnce(() => this.#wakeUp());
    return this.#change();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #wakeUp(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
