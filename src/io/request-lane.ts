import { Operation } from '../linux/uring-numbers.ts';
import { Apart } from './apart.ts';
import type { Placed } from './placed-list.ts';
import { RequestQueue } from './request-queue.ts';

/** Why a request ended without success: `errno` is positive; `timed-out` means that the kernel has not answered yet. */
export interface RequestFailure {
  readonly operation: Operation;
  readonly errno: number;
  readonly timedOut: boolean;
  readonly fileOffset: number;
  readonly length: number;
  /** Bytes from the start that are good. */
  readonly done: number;
}

export interface LaneOptions {
  /** The open descriptor; its owner closes it after `close` has resolved. */
  readonly fd: number;
  /** Most requests in the kernel at once; more wait their turn here. */
  readonly inFlightMax: number;
  /** A transfer cut short goes on at a multiple of this: direct I/O allows nothing else. 1 where it does not matter. */
  readonly alignmentBytes: number;
  /** Turns a failure into the error that the request's promise rejects with. An assertion thrown here ends the process. */
  readonly errorOf: (failure: RequestFailure) => Error;
}

/**
 * The requests of one device or socket. A hung disk fills its own lane and nobody else's (R36), and a closing device
 * knows when the kernel has answered its last one, abandoned ones included (I6, I7, I27).
 */
export class RequestLane implements Placed {
  readonly fd: number;
  readonly inFlightMax: number;
  readonly alignmentBytes: number;
  readonly errorOf: (failure: RequestFailure) => Error;
  /** Requests beyond `inFlightMax`. For the engine. */
  readonly waiting: RequestQueue<IoRequest> = new RequestQueue();
  /** Among the lanes that have requests. For the engine. */
  place = -1;
  /** Requests that have left `waiting`. For the engine. */
  active = 0;
  /** Requests whose promise is rejected while the kernel still holds their buffer. */
  zombies = 0;
  /** Threads that carry its requests. For an engine that has threads. */
  threads = 0;
  /** False for a pipe or its like. For an engine that has to know. */
  seekable = true;
  /** At most one receive and one send of a socket at a time. For the engine. */
  receiving = false;
  sending = false;
  #closed = false;
  #drained: Promise<void> | undefined;
  #resolveDrained: (() => void) | undefined;

  constructor(options: LaneOptions) {
    this.fd = options.fd;
    this.alignmentBytes = options.alignmentBytes;
    this.inFlightMax = options.inFlightMax;
    this.errorOf = options.errorOf;
  }

  /** Requests that were admitted and not answered by the kernel. */
  get inFlight(): number {
    return this.active + this.waiting.length;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Stops admission; resolves when the kernel holds none of our memory. Idempotent. */
  close(): Promise<void> {
    this.#closed = true;
    this.#drained ??=
      this.inFlight === 0
        ? Promise.resolve()
        : new Promise((resolve) => {
            this.#resolveDrained = resolve;
          });
    return this.#drained;
  }

  /** The engine has let go of one request. */
  noteFinished(): void {
    if (this.#resolveDrained !== undefined && this.inFlight === 0) this.#resolveDrained();
  }
}

/** Where a request is. A finished one lies in the engine's pool and means nothing. */
export const RequestState = { pooled: 0, waiting: 1, ready: 2, inKernel: 3 } as const;
export type RequestState = (typeof RequestState)[keyof typeof RequestState];

const nobody = (): void => {};

/**
 * One request from call to answer. The engine pools these: 100 k requests a second would be 100 k objects.
 * Only the engine and the lane touch them; everybody else sees the promise.
 */
export class IoRequest implements Placed {
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
  apart: Apart = Apart.no;
  /** When the kernel got it, on the clock of `performance.now()`; kept by the engine that needs it. */
  startedMs = 0;
  /** On the clock of `performance.now()`. */
  deadlineMs: number = Number.POSITIVE_INFINITY;
  retries = 0;
  slot = -1;
  /** Among the requests that threads carry. For an engine that has threads. */
  place = -1;
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
    this.apart = Apart.no;
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
