import { assert } from '../block/assert.ts';
import type { BufferArena } from '../block/buffer-arena.ts';
import { Errno } from '../block/errno.ts';
import { Operation } from '../linux/uring-numbers.ts';
import { DeadlineWatch } from './deadline-watch.ts';
import { PlacedList } from './placed-list.ts';
import { IoRequest, type RequestLane, RequestState } from './request-lane.ts';
import { RequestQueue } from './request-queue.ts';

/** Requests that may wait in one lane; more are refused with EBUSY. Above it somebody has forgotten his own limit. */
export const laneWaitingMax = 8192;
/** EINTR and EAGAIN are asked again this often. */
const retriesMax = 16;

export interface SchedulerOptions {
  readonly arena: BufferArena;
  /** Finished requests that are kept for the next ones. */
  readonly pooledMax: number;
  /** Most requests of one lane in the kernel, whatever the lane allows itself. */
  readonly laneDepthMax: number;
}

/**
 * Carries requests from their lane through the kernel to their answer. What both engines have in common; a subclass knows how
 * the kernel is asked.
 *
 *     admit ─► lane.waiting ─► ready ─► in the kernel ─► finished ─► pool
 *                  │             │ ▲          │
 *                  └─ deadline ──┘ └─ retry, ─┤
 *                     or cancelled   continue └─ deadline: a zombie until the kernel answers
 *
 * Every request leaves through `#finish`, once (I8), and only there is its memory given back (I27).
 */
export abstract class RequestScheduler {
  /** Allowed by their lane, not yet with the kernel. */
  protected readonly ready: RequestQueue<IoRequest> = new RequestQueue();
  /** Those that have requests. */
  protected readonly lanes: PlacedList<RequestLane> = new PlacedList();
  readonly #arena: BufferArena;
  readonly #laneDepthMax: number;
  readonly #pool: IoRequest[] = [];
  readonly #pooledMax: number;
  readonly #deadlines: DeadlineWatch;
  /** Requests that the kernel has. */
  inKernel = 0;
  /** Of these, requests whose promise was rejected at their deadline. */
  zombies = 0;
  /** Times that a request was handed to the kernel since the start. */
  submissions = 0;

  protected constructor(options: SchedulerOptions) {
    this.#arena = options.arena;
    this.#pooledMax = options.pooledMax;
    this.#laneDepthMax = options.laneDepthMax;
    this.#deadlines = new DeadlineWatch((nowMs) => this.#expire(nowMs));
  }

  /** Something stands in `ready`. */
  protected abstract wake(): void;
  /** The requests that the kernel has; gaps are allowed, and others that are on their way to it. */
  protected abstract kernelRequests(): Iterable<IoRequest | undefined>;
  /** Forgets a request that ends, wherever it was. */
  protected abstract forget(request: IoRequest): void;

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

  /** Resolves when the kernel has answered everything. */
  async drain(): Promise<void> {
    for (const lane of [...this.lanes]) await lane.close();
  }

  /** After `drain`: nothing moves any more. */
  close(): void {
    this.#deadlines.close();
  }

  /** Lets a request in, or rejects it when too many wait. */
  admit(request: IoRequest): void {
    const lane = request.lane!;
    if (lane.inFlight === 0) this.lanes.add(lane);
    if (this.#hasRoom(lane)) {
      lane.active += 1;
      this.#makeReady(request);
    } else if (lane.waiting.length < laneWaitingMax) {
      request.state = RequestState.waiting;
      lane.waiting.push(request);
    } else {
      lane.active += 1;
      this.rejectAndFinish(request, Errno.EBUSY, false);
    }
  }

  /** Gives back what the request held and puts it into the pool. */
  recycle(request: IoRequest): void {
    if (request.buffer !== undefined) this.#arena.release(request.buffer);
    if (request.parts !== undefined) this.#releaseParts(request.parts);
    request.reset();
    if (this.#pool.length < this.#pooledMax) this.#pool.push(request);
  }

  /** The request has been handed to the kernel. */
  protected noteStarted(request: IoRequest): void {
    request.state = RequestState.inKernel;
    this.inKernel += 1;
    this.submissions += 1;
  }

  /** The kernel's answer: a count, or the negative errno. */
  protected answered(request: IoRequest, result: number): void {
    assert(request.state === RequestState.inKernel, 'RequestScheduler: a request was completed twice');
    this.inKernel -= 1;
    if (result < 0) this.#failed(request, -result);
    else this.succeeded(request, result);
  }

  protected succeeded(request: IoRequest, result: number): void {
    if (request.operation !== Operation.read && request.operation !== Operation.write) {
      this.resolve(request, result);
      return;
    }
    request.done += result;
    if (request.done >= request.length) this.resolve(request, result);
    else if (result === 0) this.rejectAndFinish(request, Errno.ENXIO, false);
    else this.#continueTransfer(request);
  }

  protected again(request: IoRequest): void {
    this.#makeReady(request);
  }

  protected resolve(request: IoRequest, result: number): void {
    if (!request.abandoned) {
      request.resolveDone(undefined);
      request.resolveResult(result);
    }
    this.#finish(request);
  }

  /** For requests that the kernel does not have. */
  protected rejectAndFinish(request: IoRequest, errno: number, timedOut: boolean): void {
    if (!request.abandoned) this.#reject(request, errno, timedOut);
    this.#finish(request);
  }

  #hasRoom(lane: RequestLane): boolean {
    return lane.active < lane.inFlightMax && lane.active < this.#laneDepthMax;
  }

  #makeReady(request: IoRequest): void {
    request.state = RequestState.ready;
    this.ready.push(request);
    this.wake();
  }

  #failed(request: IoRequest, errno: number): void {
    const mayRetry =
      (errno === Errno.EINTR || errno === Errno.EAGAIN) &&
      request.operation !== Operation.fsync &&
      !request.cancelled &&
      !request.abandoned &&
      request.retries < retriesMax;
    if (!mayRetry) {
      this.rejectAndFinish(request, errno, false);
      return;
    }
    request.retries += 1;
    this.#makeReady(request);
  }

  #continueTransfer(request: IoRequest): void {
    if (request.abandoned || request.cancelled) {
      this.rejectAndFinish(request, Errno.ECANCELED, false);
      return;
    }
    const tail = request.done % request.lane!.alignmentBytes;
    request.done -= tail;
    // A piece that ends inside a block may bring nothing: bounded as a retry. What never gets behind that block is the ragged
    // end of a file that was cut under us: no more about a bad sector than an end between two blocks is.
    request.retries += tail === 0 ? 0 : 1;
    if (request.retries > retriesMax) this.rejectAndFinish(request, Errno.ENXIO, false);
    else this.#makeReady(request);
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
    this.forget(request);
    this.recycle(request);
    lane.active -= 1;
    if (this.#hasRoom(lane)) {
      const next = lane.waiting.shift();
      if (next !== undefined) {
        lane.active += 1;
        this.#makeReady(next);
      }
    }
    if (lane.inFlight === 0) this.lanes.remove(lane);
    lane.noteFinished();
  }

  #releaseParts(parts: readonly Uint8Array[]): void {
    for (const part of parts) {
      if (part.length > 0 && this.#arena.contains(part)) this.#arena.release(part);
    }
  }

  /** Rejects what is due; what the kernel has lives on as a zombie with its buffer (R3, I27). Returns the next deadline. */
  #expire(nowMs: number): number {
    const due = (request: IoRequest): boolean => request.deadlineMs <= nowMs;
    for (const lane of [...this.lanes]) {
      for (const request of lane.waiting.remove(due)) {
        lane.active += 1;
        this.rejectAndFinish(request, Errno.ETIMEDOUT, true);
      }
    }
    for (const request of this.ready.remove(due)) this.rejectAndFinish(request, Errno.ETIMEDOUT, true);
    for (const request of this.kernelRequests()) {
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
    for (const lane of this.lanes) lane.waiting.remove(consider);
    this.ready.remove(consider);
    for (const request of this.kernelRequests()) if (request !== undefined) consider(request);
    return nearestMs;
  }
}
