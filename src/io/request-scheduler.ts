import { assert } from '../block/assert.ts';
import type { BufferArena } from '../block/buffer-arena.ts';
import { Errno } from '../block/errno.ts';
import type { CompletionHandler, Ring, SubmissionEntry } from '../linux/ring.ts';
import { Operation } from '../linux/uring-numbers.ts';
import { DeadlineWatch } from './deadline-watch.ts';
import { IoRequest, type RequestLane, RequestState } from './request-lane.ts';
import { RequestQueue } from './request-queue.ts';
import { RingTurner, type TurnWork } from './ring-turner.ts';
import type { SlotMemory } from './slot-memory.ts';
import { SlotTable } from './slot-table.ts';
import { describeCancel, describeRequest, emptyEntry, isSocketOperation } from './submission.ts';

/** Requests that may wait in one lane; more are refused with EBUSY. Above it somebody has forgotten his own limit. */
export const laneWaitingMax = 8192;
/** EINTR and EAGAIN are asked again this often. */
const retriesMax = 16;
/** `user_data` of cancellations: their answers say nothing that the cancelled request does not say itself. */
const cancelSlot = 0xffff_ffff;

export interface SchedulerOptions {
  readonly ring: Ring;
  readonly arena: BufferArena;
  readonly slotMemory: SlotMemory;
  readonly inFlightMax: number;
  readonly spinUs: number;
}

/**
 * Carries requests from their lane through the ring to their answer:
 *
 *     admit ─► lane.waiting ─► ready ─► in the kernel ─► finished ─► pool
 *                  │             │ ▲          │
 *                  └─ deadline ──┘ └─ retry, ─┤
 *                     or cancelled   continue └─ deadline: a zombie until the kernel answers
 *
 * Every request leaves through `#finish`, once (I8), and only there is its memory given back (I27).
 */
export class RequestScheduler implements TurnWork {
  readonly #ring: Ring;
  readonly #arena: BufferArena;
  readonly #turner: RingTurner;
  readonly #slotMemory: SlotMemory;
  readonly #slots: SlotTable;
  readonly #poolMax: number;
  /** Allowed by their lane, not yet in the submission queue. */
  readonly #ready: RequestQueue<IoRequest> = new RequestQueue();
  readonly #cancels: number[] = [];
  readonly #pool: IoRequest[] = [];
  readonly #deadlines: DeadlineWatch;
  readonly #lanes: Set<RequestLane> = new Set();
  readonly #entry: SubmissionEntry = emptyEntry();
  /** Requests that the kernel has. */
  inKernel = 0;
  /** Of these, requests whose promise was rejected at their deadline. */
  zombies = 0;
  /** Times that a request was handed to the kernel since the start. */
  submissions = 0;

  constructor(options: SchedulerOptions) {
    this.#ring = options.ring;
    this.#arena = options.arena;
    this.#slotMemory = options.slotMemory;
    this.#slots = new SlotTable(options.inFlightMax);
    this.#poolMax = options.inFlightMax;
    this.#deadlines = new DeadlineWatch((nowMs) => this.#expire(nowMs));
    this.#turner = new RingTurner(options.ring, this, options.spinUs);
  }

  /** Ring passes since the start. */
  get passes(): number {
    return this.#turner.passes;
  }

  newRequest(operation: Operation, lane: RequestLane): IoRequest {
    assert(!lane.closed, 'RequestScheduler: a request after the close of its lane');
    const request = this.#pool.pop() ?? new IoRequest();
    request.operation = operation;
    request.lane = lane;
    return request;
  }

  setDeadline(request: IoRequest, timeoutMs: number): void {
    request.deadlineMs = performance.now() + timeoutMs;
    this.#deadlines.add(request.deadlineMs);
  }

  /** Asks the kernel to give up every request of a lane; those that it can give up reject with ECANCELED. */
  cancelAll(lane: RequestLane): void {
    this.#cancelWhere((request) => request.lane === lane);
  }

  /** Gives up what may wait for a peer for ever, and resolves when the kernel has answered everything else. */
  async drain(): Promise<void> {
    this.#cancelWhere((request) => isSocketOperation(request.operation));
    for (const lane of this.#lanes) await lane.close();
  }

  /** After `drain`: nothing turns any more. */
  close(): void {
    this.#deadlines.close();
    this.#turner.close();
  }

  #cancelWhere(condition: (request: IoRequest) => boolean): void {
    for (const lane of [...this.#lanes]) {
      for (const request of lane.waiting.remove(condition)) {
        lane.active += 1;
        this.#rejectAndFinish(request, Errno.ECANCELED, false);
      }
    }
    for (const request of this.#ready.remove(condition)) {
      this.#rejectAndFinish(request, Errno.ECANCELED, false);
    }
    for (const request of this.#slots.requests) {
      if (request !== undefined && condition(request)) this.#cancel(request);
    }
  }

  /** Lets a request in, or rejects it when too many wait. */
  admit(request: IoRequest): void {
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
  fill(): number {
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
    assert(pushed, 'RequestScheduler: no room in the submission queue');
    request.state = RequestState.inKernel;
    this.inKernel += 1;
    this.submissions += 1;
  }

  #pushCancel(slot: number): void {
    describeCancel(this.#entry, this.#slots.userData(slot), cancelSlot);
    this.#ring.push(this.#entry);
  }

  readonly complete: CompletionHandler = (slot: number, generation: number, result: number): void => {
    if (slot === cancelSlot) return;
    const request = this.#slots.find(slot, generation);
    assert(request.state === RequestState.inKernel, 'RequestScheduler: a request was completed twice');
    this.inKernel -= 1;
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
    // A piece that ends inside a block may bring nothing: bounded as a retry. What never gets behind that block is the ragged
    // end of a file that was cut under us: no more about a bad sector than an end between two blocks is.
    request.retries += tail === 0 ? 0 : 1;
    if (request.retries > retriesMax) this.#rejectAndFinish(request, Errno.ENXIO, false);
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
      this.zombies -= 1;
    }
    if (request.operation === Operation.receive) lane.receiving = false;
    else if (request.operation === Operation.sendMessage) lane.sending = false;
    this.#slots.release(request);
    this.recycle(request);
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

  /** Gives back what the request held and puts it into the pool. */
  recycle(request: IoRequest): void {
    if (request.buffer !== undefined) this.#arena.release(request.buffer);
    if (request.parts !== undefined) this.#releaseParts(request.parts);
    request.reset();
    if (this.#pool.length < this.#poolMax) this.#pool.push(request);
  }

  #releaseParts(parts: readonly Uint8Array[]): void {
    for (const part of parts) {
      if (part.length > 0 && this.#arena.contains(part)) this.#arena.release(part);
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
      this.zombies += 1;
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
