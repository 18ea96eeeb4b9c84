import { assert } from '../block/assert.ts';
import type { BufferArena } from '../block/buffer-arena.ts';
import { Errno } from '../block/errno.ts';
import { Ring, type SubmissionEntry } from '../linux/ring.ts';
import { acceptFlags } from '../linux/socket-calls.ts';
import { SystemCallError } from '../linux/system-call.ts';
import { fsyncFlag, Operation } from '../linux/uring-numbers.ts';
import type { ArenaMemory } from './arena-memory.ts';
import { DeadlineWatch } from './deadline-watch.ts';
import { engineRefusal, readDisabledSwitch } from './engine-refusal.ts';
import { IoRequest, RequestQueue, RequestState } from './io-request.ts';
import type { RequestLane } from './request-lane.ts';
import { RingTurner, type TurnWork } from './ring-turner.ts';
import { SlotMemory, stagingBytes } from './slot-memory.ts';
import { SlotTable } from './slot-table.ts';
import { describeCancel, describeRequest, emptyEntry, isSocketOperation } from './submission.ts';

/** What 20 µs of looking buys at queue depth 1: 1.12 × nbdkit instead of 0.71 ×, at 3 µs of CPU a request. */
const spinUsDefault = 20;
/** Requests in the kernel at once, all lanes together. */
const inFlightMaxDefault = 1024;
const submissionEntriesDefault = 256;
/** Requests that may wait in one lane; more are refused with EBUSY. Above it somebody has forgotten his own limit. */
export const laneWaitingMax = 8192;
/** EINTR and EAGAIN are asked again this often. */
const retriesMax = 16;
/** `user_data` of cancellations: their answers say nothing that the cancelled request does not say itself. */
const cancelSlot = 0xffff_ffff;

export interface EngineOptions {
  /** The registered memory: every buffer of a disk request lies in it. */
  readonly memory: ArenaMemory;
  readonly spinUs?: number;
  readonly inFlightMax?: number;
  readonly submissionEntries?: number;
}

/**
 * io_uring from plain promises: one promise a request, settled exactly once (I8). A buffer of the arena is held from
 * the call until the kernel has answered, whatever a deadline said (I27). Short transfers are continued, EINTR and EAGAIN
 * retried a bounded number of times. Which error a failure becomes, the lane says.
 */
export class UringEngine {
  readonly arena: BufferArena;
  /** The kernel's name for the arena's first byte. */
  readonly arenaAddress: number;
  /** Errno of the refusal to lock the queues in memory, 0 when locked. */
  readonly lockErrno: number;
  readonly #ring: Ring;
  readonly #turner: RingTurner;
  readonly #slotMemory: SlotMemory;
  readonly #slots: SlotTable;
  readonly #poolMax: number;
  /** Allowed by their lane, not yet in the submission queue. */
  readonly #ready: RequestQueue = new RequestQueue();
  readonly #cancels: number[] = [];
  readonly #pool: IoRequest[] = [];
  readonly #deadlines: DeadlineWatch;
  readonly #lanes: Set<RequestLane> = new Set();
  readonly #entry: SubmissionEntry = emptyEntry();
  #inKernel = 0;
  #zombies = 0;
  #closing: Promise<void> | undefined;

  /** @throws EngineRefusal where this machine has no io_uring for us. */
  constructor(options: EngineOptions) {
    const inFlightMax = options.inFlightMax ?? inFlightMaxDefault;
    this.#ring = openRing(options.submissionEntries ?? submissionEntriesDefault, inFlightMax);
    this.arena = options.memory.arena;
    this.arenaAddress = options.memory.address;
    this.#slotMemory = new SlotMemory(inFlightMax, this.arena.memory, this.arenaAddress);
    this.#slots = new SlotTable(inFlightMax);
    this.#poolMax = inFlightMax;
    this.lockErrno = this.#ring.lock() || this.#slotMemory.lock();
    this.#deadlines = new DeadlineWatch((nowMs) => this.#expire(nowMs));
    this.#turner = new RingTurner(this.#ring, this.#turnWork(), options.spinUs ?? spinUsDefault);
  }

  /** Requests that the kernel has not answered. */
  get inFlight(): number {
    return this.#inKernel;
  }

  /** Requests whose deadline has passed while the kernel still holds their buffer. */
  get zombies(): number {
    return this.#zombies;
  }

  /** Ring passes since the start: an idle engine makes none. */
  get passes(): number {
    return this.#turner.passes;
  }

  /** Reads all of `target`, which lies in the arena. Rejects as the lane says after `timeoutMs`. */
  read(lane: RequestLane, target: Uint8Array, fileOffset: number, timeoutMs?: number): Promise<void> {
    return this.#transfer(Operation.read, lane, target, fileOffset, 0, timeoutMs);
  }

  /** Writes all of `source`, which lies in the arena. `writeFlags` are RWF_ bits. */
  write(lane: RequestLane, source: Uint8Array, fileOffset: number, writeFlags: number): Promise<void> {
    return this.#transfer(Operation.write, lane, source, fileOffset, writeFlags, undefined);
  }

  /** fdatasync. Never retried: a second answer would say nothing about what the first one lost. */
  syncData(lane: RequestLane): Promise<void> {
    const request = this.#newRequest(Operation.fsync, lane);
    request.operationFlags = fsyncFlag.dataSync;
    return this.#startDone(request);
  }

  /** fallocate with FALLOC_FL_ bits; kernel workers do it, it never blocks us. */
  allocate(lane: RequestLane, mode: number, fileOffset: number, length: number): Promise<void> {
    const request = this.#newRequest(Operation.fallocate, lane);
    request.operationFlags = mode;
    request.fileOffset = fileOffset;
    request.length = length;
    return this.#startDone(request);
  }

  /** Receives at least one byte into `target` and resolves to the number; 0 when the peer has ended. */
  receive(lane: RequestLane, target: Uint8Array, timeoutMs?: number): Promise<number> {
    assert(!lane.receiving, 'UringEngine: a second receive at once');
    const request = this.#newRequest(Operation.receive, lane);
    lane.receiving = true;
    if (this.arena.contains(target)) {
      this.#lend(request, target);
      request.length = target.length;
    } else {
      request.staged = target;
      request.length = Math.min(target.length, stagingBytes);
    }
    this.#setDeadline(request, timeoutMs);
    return this.#startResult(request);
  }

  /** Sends every byte of `parts`; one message gathers as many as it can. */
  send(lane: RequestLane, parts: readonly Uint8Array[]): Promise<void> {
    assert(!lane.sending, 'UringEngine: two sends at once would interleave on the wire');
    const request = this.#newRequest(Operation.sendMessage, lane);
    request.parts = parts;
    request.length = 0;
    for (const part of parts) {
      request.length += part.length;
      if (part.length > 0 && this.arena.contains(part)) this.arena.hold(part);
    }
    if (request.length === 0) {
      this.#recycle(request);
      return Promise.resolve();
    }
    lane.sending = true;
    return this.#startDone(request);
  }

  /** Resolves to the descriptor of the next connection. */
  accept(lane: RequestLane): Promise<number> {
    const request = this.#newRequest(Operation.accept, lane);
    request.operationFlags = acceptFlags;
    return this.#startResult(request);
  }

  connect(lane: RequestLane, address: Uint8Array): Promise<void> {
    const request = this.#newRequest(Operation.connect, lane);
    request.staged = address;
    request.length = address.length;
    return this.#startDone(request);
  }

  /** Asks the kernel to give up every request of a lane; those that it can give up reject with ECANCELED. */
  cancelAll(lane: RequestLane): void {
    for (const request of lane.waiting.remove(() => true)) {
      lane.active += 1;
      this.#rejectAndFinish(request, Errno.ECANCELED, false);
    }
    for (const request of this.#ready.remove((one) => one.lane === lane)) {
      this.#rejectAndFinish(request, Errno.ECANCELED, false);
    }
    for (const request of this.#slots.requests) {
      if (request?.lane === lane) this.#cancel(request);
    }
  }

  /** Resolves when the kernel has answered everything, zombies included, and the ring is gone. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#shutDown();
    return this.#closing;
  }

  async #shutDown(): Promise<void> {
    // Nobody waits for a disk to be cancelled, and a peer may never answer by itself.
    for (const request of this.#slots.requests) {
      if (request !== undefined && isSocketOperation(request.operation)) this.#cancel(request);
    }
    for (const lane of this.#lanes) await lane.close();
    this.#deadlines.close();
    this.#turner.close();
    this.#ring.close();
    this.#slotMemory.close();
  }

  #turnWork(): TurnWork {
    const engine = this;
    return {
      fill: () => this.#fill(),
      complete: this.#complete,
      get inKernel(): number {
        return engine.#inKernel;
      },
    };
  }

  #transfer(
    operation: Operation,
    lane: RequestLane,
    buffer: Uint8Array,
    fileOffset: number,
    operationFlags: number,
    timeoutMs: number | undefined,
  ): Promise<void> {
    const request = this.#newRequest(operation, lane);
    this.#lend(request, buffer);
    request.length = buffer.length;
    request.fileOffset = fileOffset;
    request.operationFlags = operationFlags;
    this.#setDeadline(request, timeoutMs);
    return this.#startDone(request);
  }

  #newRequest(operation: Operation, lane: RequestLane): IoRequest {
    assert(!lane.closed && this.#closing === undefined, 'UringEngine: a request after close');
    const request = this.#pool.pop() ?? new IoRequest();
    request.operation = operation;
    request.lane = lane;
    return request;
  }

  #lend(request: IoRequest, buffer: Uint8Array): void {
    this.arena.hold(buffer);
    request.buffer = buffer;
    request.address = this.arenaAddress + buffer.byteOffset;
  }

  #setDeadline(request: IoRequest, timeoutMs: number | undefined): void {
    if (timeoutMs === undefined) return;
    request.deadlineMs = performance.now() + timeoutMs;
    this.#deadlines.add(request.deadlineMs);
  }

  #startDone(request: IoRequest): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      request.resolveDone = resolve;
      request.reject = reject;
      this.#admit(request);
    });
  }

  #startResult(request: IoRequest): Promise<number> {
    return new Promise<number>((resolve, reject) => {
      request.resolveResult = resolve;
      request.reject = reject;
      this.#admit(request);
    });
  }

  #admit(request: IoRequest): void {
    const lane = request.lane!;
    if (lane.inFlight === 0) this.#lanes.add(lane);
    if (lane.active < lane.inFlightMax) {
      lane.active += 1;
      this.#makeReady(request);
    } else if (lane.waiting.length < laneWaitingMax) {
      request.state = RequestState.waiting;
      lane.waiting.push(request);
    } else {
      lane.active += 1;
      this.#rejectAndFinish(request, Errno.EBUSY, false);
    }
  }

  #makeReady(request: IoRequest): void {
    request.state = RequestState.ready;
    this.#ready.push(request);
    this.#turner.wake();
  }

  /** Pushes cancellations and ready requests into the submission queue; a full one is submitted first. */
  #fill(): number {
    let pushed = 0;
    while (this.#cancels.length > 0 && this.#roomToPush()) {
      this.#pushCancel(this.#cancels.pop()!);
      pushed += 1;
    }
    for (;;) {
      const request = this.#ready.first;
      if (request === undefined || !this.#roomToPush()) return pushed;
      if (!this.#slots.assign(request)) return pushed;
      this.#ready.shift();
      this.#push(request);
      pushed += 1;
    }
  }

  #roomToPush(): boolean {
    if (!this.#ring.full) return true;
    this.#turner.submit();
    return !this.#ring.full;
  }

  #push(request: IoRequest): void {
    const entry = this.#entry;
    describeRequest(request, entry, this.#slotMemory);
    entry.userLow = request.slot;
    entry.userHigh = this.#slots.nextGeneration(request.slot);
    const pushed = this.#ring.push(entry);
    assert(pushed, 'UringEngine: no room in the submission queue');
    request.state = RequestState.inKernel;
    this.#inKernel += 1;
  }

  #pushCancel(slot: number): void {
    describeCancel(this.#entry, this.#slots.userData(slot), cancelSlot);
    this.#ring.push(this.#entry);
  }

  readonly #complete = (slot: number, generation: number, result: number): void => {
    if (slot === cancelSlot) return;
    const request = this.#slots.find(slot, generation);
    assert(request.state === RequestState.inKernel, 'UringEngine: a request was completed twice');
    this.#inKernel -= 1;
    if (result < 0) this.#failed(request, -result);
    else this.#succeeded(request, result);
  };

  #succeeded(request: IoRequest, result: number): void {
    switch (request.operation) {
      case Operation.read:
      case Operation.write:
        request.done += result;
        if (request.done >= request.length) this.#resolve(request, result);
        else if (result === 0) this.#rejectAndFinish(request, Errno.ENXIO, false);
        else this.#continueTransfer(request);
        return;
      case Operation.sendMessage:
        request.done += result;
        if (request.done >= request.length) this.#resolve(request, result);
        else if (result === 0) this.#rejectAndFinish(request, Errno.EPIPE, false);
        else this.#continueSend(request, result);
        return;
      case Operation.receive:
        // Whoever cancels a receive also shuts the socket down: that end is ours, not the peer's.
        if (result === 0 && request.cancelled) {
          this.#rejectAndFinish(request, Errno.ECANCELED, false);
          return;
        }
        if (request.staged !== undefined && !request.abandoned) {
          request.staged.set(this.#slotMemory.staging(request.slot, result));
        }
        this.#resolve(request, result);
        return;
      default:
        this.#resolve(request, result);
    }
  }

  #failed(request: IoRequest, errno: number): void {
    const mayRetry =
      (errno === Errno.EINTR || errno === Errno.EAGAIN) &&
      request.operation !== Operation.fsync &&
      !request.cancelled &&
      !request.abandoned &&
      request.retries < retriesMax;
    if (!mayRetry) {
      this.#rejectAndFinish(request, errno, false);
      return;
    }
    request.retries += 1;
    this.#makeReady(request);
  }

  #continueTransfer(request: IoRequest): void {
    if (request.abandoned || request.cancelled) {
      this.#rejectAndFinish(request, Errno.ECANCELED, false);
      return;
    }
    const tail = request.done % request.lane!.alignmentBytes;
    request.done -= tail;
    // A piece that ends inside a block may bring nothing: bounded as a retry.
    request.retries += tail === 0 ? 0 : 1;
    if (request.retries > retriesMax) this.#rejectAndFinish(request, Errno.EIO, false);
    else this.#makeReady(request);
  }

  #continueSend(request: IoRequest, sent: number): void {
    if (request.cancelled) {
      this.#rejectAndFinish(request, Errno.ECANCELED, false);
      return;
    }
    const parts = request.parts!;
    let left = sent + request.partOffset;
    while (left >= parts[request.partIndex]!.length) {
      left -= parts[request.partIndex]!.length;
      request.partIndex += 1;
    }
    request.partOffset = left;
    this.#makeReady(request);
  }

  #resolve(request: IoRequest, result: number): void {
    if (!request.abandoned) {
      request.resolveDone(undefined);
      request.resolveResult(result);
    }
    this.#finish(request);
  }

  /** For requests that the kernel does not have. */
  #rejectAndFinish(request: IoRequest, errno: number, timedOut: boolean): void {
    if (!request.abandoned) this.#reject(request, errno, timedOut);
    this.#finish(request);
  }

  #reject(request: IoRequest, errno: number, timedOut: boolean): void {
    const { operation, fileOffset, length, done } = request;
    const failure = { operation, errno, timedOut, fileOffset, length, done };
    request.reject(request.lane!.errorOf(failure));
  }

  #finish(request: IoRequest): void {
    const lane = request.lane!;
    if (request.abandoned) {
      lane.zombies -= 1;
      this.#zombies -= 1;
    }
    if (request.operation === Operation.receive) lane.receiving = false;
    else if (request.operation === Operation.sendMessage) lane.sending = false;
    this.#slots.release(request);
    this.#recycle(request);
    lane.active -= 1;
    if (lane.active < lane.inFlightMax) {
      const next = lane.waiting.shift();
      if (next !== undefined) {
        lane.active += 1;
        this.#makeReady(next);
      }
    }
    if (lane.inFlight === 0) this.#lanes.delete(lane);
    lane.noteFinished();
  }

  #recycle(request: IoRequest): void {
    if (request.buffer !== undefined) this.arena.release(request.buffer);
    if (request.parts !== undefined) this.#releaseParts(request.parts);
    request.reset();
    if (this.#pool.length < this.#poolMax) this.#pool.push(request);
  }

  #releaseParts(parts: readonly Uint8Array[]): void {
    for (const part of parts) {
      if (part.length > 0 && this.arena.contains(part)) this.arena.release(part);
    }
  }

  #cancel(request: IoRequest): void {
    if (request.cancelled || request.state !== RequestState.inKernel) return;
    request.cancelled = true;
    this.#cancels.push(request.slot);
    this.#turner.wake();
  }

  /** Rejects what is due; what the kernel has lives on as a zombie with its buffer (R3, I27). Returns the next deadline. */
  #expire(nowMs: number): number {
    const due = (request: IoRequest): boolean => request.deadlineMs <= nowMs;
    for (const lane of [...this.#lanes]) {
      for (const request of lane.waiting.remove(due)) {
        lane.active += 1;
        this.#rejectAndFinish(request, Errno.ETIMEDOUT, true);
      }
    }
    for (const request of this.#ready.remove(due)) this.#rejectAndFinish(request, Errno.ETIMEDOUT, true);
    for (const request of this.#slots.requests) {
      if (request === undefined || request.abandoned || !due(request)) continue;
      this.#reject(request, Errno.ETIMEDOUT, true);
      request.abandoned = true;
      request.lane!.zombies += 1;
      this.#zombies += 1;
    }
    return this.#nearestDeadline();
  }

  #nearestDeadline(): number {
    let nearestMs = Number.POSITIVE_INFINITY;
    const consider = (request: IoRequest): boolean => {
      if (!request.abandoned && request.deadlineMs < nearestMs) nearestMs = request.deadlineMs;
      return false;
    };
    for (const lane of this.#lanes) lane.waiting.remove(consider);
    this.#ready.remove(consider);
    for (const request of this.#slots.requests) if (request !== undefined) consider(request);
    return nearestMs;
  }
}

function openRing(submissionEntries: number, inFlightMax: number): Ring {
  // Twice: a cancellation answers too, once for each request at most.
  const completionEntries = 2 ** Math.ceil(Math.log2(inFlightMax * 2));
  try {
    return new Ring({ submissionEntries, completionEntries });
  } catch (error) {
    if (error instanceof SystemCallError) throw engineRefusal(error, readDisabledSwitch());
    throw error;
  }
}
