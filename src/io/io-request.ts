import { Operation } from '../linux/uring-numbers.ts';
import type { RequestLane } from './request-lane.ts';

/** Where a request is. A finished one lies in the engine's pool and means nothing. */
export const RequestState = { pooled: 0, waiting: 1, ready: 2, inKernel: 3 } as const;
export type RequestState = (typeof RequestState)[keyof typeof RequestState];

const nobody = (): void => {};

/**
 * One request from call to answer. The engine pools these: 100 k requests a second would be 100 k objects.
 * Only the engine and the lane touch them; everybody else sees the promise.
 */
export class IoRequest {
  state: RequestState = RequestState.pooled;
  operation: Operation = Operation.nop;
  lane: RequestLane | undefined;
  /** The memory the kernel reads or writes, inside the arena; held until the kernel has answered. */
  buffer: Uint8Array | undefined;
  address = 0;
  length = 0;
  /** Bytes that are known to be done. */
  done = 0;
  fileOffset = 0;
  operationFlags = 0;
  /** On the clock of `performance.now()`. */
  deadlineMs: number = Number.POSITIVE_INFINITY;
  retries = 0;
  slot = -1;
  /** The promise has been rejected at the deadline; the kernel still owns the buffer. */
  abandoned = false;
  cancelled = false;
  /** Memory outside the arena: where received bytes go, or the peer's address. */
  staged: Uint8Array | undefined;
  parts: readonly Uint8Array[] | undefined;
  partIndex = 0;
  partOffset = 0;
  resolveDone: (value: undefined) => void = nobody;
  resolveResult: (value: number) => void = nobody;
  reject: (error: Error) => void = nobody;
  /** Next in the queue that it stands in. */
  next: IoRequest | undefined;

  /** Forgets everything that would keep memory alive. */
  reset(): void {
    this.state = RequestState.pooled;
    this.lane = undefined;
    this.buffer = undefined;
    this.done = 0;
    this.fileOffset = 0;
    this.operationFlags = 0;
    this.deadlineMs = Number.POSITIVE_INFINITY;
    this.retries = 0;
    this.slot = -1;
    this.abandoned = false;
    this.cancelled = false;
    this.staged = undefined;
    this.parts = undefined;
    this.partIndex = 0;
    this.partOffset = 0;
    this.resolveDone = nobody;
    this.resolveResult = nobody;
    this.reject = nobody;
    this.next = undefined;
  }
}

/** First come, first served, without an array: requests are chained through `next`. */
export class RequestQueue {
  #first: IoRequest | undefined;
  #last: IoRequest | undefined;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  get first(): IoRequest | undefined {
    return this.#first;
  }

  push(request: IoRequest): void {
    request.next = undefined;
    if (this.#last === undefined) this.#first = request;
    else this.#last.next = request;
    this.#last = request;
    this.#length += 1;
  }

  shift(): IoRequest | undefined {
    const request = this.#first;
    if (request === undefined) return undefined;
    this.#first = request.next;
    if (this.#first === undefined) this.#last = undefined;
    request.next = undefined;
    this.#length -= 1;
    return request;
  }

  /** Takes out every request that `condition` names, in order; the rest keep theirs. */
  remove(condition: (request: IoRequest) => boolean): IoRequest[] {
    const removed: IoRequest[] = [];
    for (let rest = this.#length; rest > 0; rest -= 1) {
      const request = this.shift()!;
      if (condition(request)) removed.push(request);
      else this.push(request);
    }
    return removed;
  }
}
