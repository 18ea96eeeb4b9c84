import { assert } from '../block/assert.ts';
import type { BufferArena } from '../block/buffer-arena.ts';
import { Operation } from '../linux/uring-numbers.ts';
import { Apart } from './apart.ts';
import type { ArenaMemory } from './arena-memory.ts';
import type { IoEngine } from './io-engine.ts';
import type { IoRequest, RequestLane } from './request-lane.ts';
import { threadPoolSize } from './thread-pool.ts';
import { ThreadScheduler } from './thread-scheduler.ts';

export interface NodeEngineOptions {
  /** Every buffer of a request lies in it. */
  readonly memory: ArenaMemory;
  /** Threads that libuv has for this process; what the environment says by default. */
  readonly threads?: number;
}

/**
 * Files by blocking calls in libuv's threads: for where io_uring is not to be had. A call in a thread cannot be given up: what
 * hangs keeps its thread until the kernel answers, so a lane gets less than half of them.
 */
export class NodeEngine implements IoEngine {
  readonly name = 'node';
  readonly arena: BufferArena;
  readonly arenaAddress: number;
  /** There are no queues. */
  readonly lockErrno = 0;
  readonly #scheduler: ThreadScheduler;
  #closing: Promise<void> | undefined;

  constructor(options: NodeEngineOptions) {
    this.arena = options.memory.arena;
    this.arenaAddress = options.memory.address;
    this.#scheduler = new ThreadScheduler({
      arena: this.arena,
      arenaAddress: this.arenaAddress,
      ...threadShares(options.threads ?? threadPoolSize()),
    });
  }

  get inFlight(): number {
    return this.#scheduler.inKernel;
  }

  get zombies(): number {
    return this.#scheduler.zombies;
  }

  get submissions(): number {
    return this.#scheduler.submissions;
  }

  read(
    lane: RequestLane,
    target: Uint8Array,
    fileOffset: number,
    timeoutMs?: number,
    apart: Apart = Apart.no,
  ): Promise<void> {
    const request = this.#newTransfer(Operation.read, lane, target, fileOffset, apart);
    if (timeoutMs !== undefined) this.#scheduler.setDeadline(request, timeoutMs);
    return this.#start(request);
  }

  write(
    lane: RequestLane,
    source: Uint8Array,
    fileOffset: number,
    durable: boolean,
    apart: Apart = Apart.no,
  ): Promise<void> {
    const request = this.#newTransfer(Operation.write, lane, source, fileOffset, apart);
    request.operationFlags = durable ? 1 : 0;
    return this.#start(request);
  }

  syncData(lane: RequestLane): Promise<void> {
    return this.#start(this.#newRequest(Operation.fsync, lane));
  }

  allocate(lane: RequestLane, mode: number, fileOffset: number, length: number): Promise<void> {
    const request = this.#newRequest(Operation.fallocate, lane);
    request.operationFlags = mode;
    request.fileOffset = fileOffset;
    request.length = length;
    return this.#start(request);
  }

  close(): Promise<void> {
    this.#closing ??= this.#scheduler.drain().then(() => this.#scheduler.close());
    return this.#closing;
  }

  #newTransfer(
    operation: Operation,
    lane: RequestLane,
    buffer: Uint8Array,
    fileOffset: number,
    apart: Apart,
  ): IoRequest {
    assert(this.arena.contains(buffer), 'NodeEngine: a buffer outside the arena');
    const request = this.#newRequest(operation, lane);
    this.arena.hold(buffer);
    request.buffer = buffer;
    request.length = buffer.length;
    request.fileOffset = fileOffset;
    request.apart = apart;
    return request;
  }

  #newRequest(operation: Operation, lane: RequestLane): IoRequest {
    assert(this.#closing === undefined, 'NodeEngine: a request after close');
    return this.#scheduler.newRequest(operation, lane);
  }

  #start(request: IoRequest): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      request.resolveDone = resolve;
      request.reject = reject;
      this.#scheduler.admit(request);
    });
  }
}

/** Threads left to everybody else: opening and closing, names, identities, the control plane. */
const othersThreads = 8;

/**
 * Of 64 threads the engine uses 56, and one lane 24. Disks that hang one after the other keep 24, 16, 8, 4 and 2.
 * Of libuv's usual four it uses three, one a lane.
 */
export function threadShares(threads: number): { inFlightMax: number; laneDepthMax: number } {
  const inFlightMax = Math.max(1, threads > othersThreads * 2 ? threads - othersThreads : threads - 1);
  return { inFlightMax, laneDepthMax: Math.max(1, Math.floor((inFlightMax * 3) / 7)) };
}
