import { fdatasync, read, write } from 'node:fs';
import { assert } from '../block/assert.ts';
import type { BufferArena } from '../block/buffer-arena.ts';
import { Errno } from '../block/errno.ts';
import { allocateRange, DurableWriter } from '../linux/file-calls.ts';
import { Operation } from '../linux/uring-numbers.ts';
import { Apart } from './apart.ts';
import { PlacedList } from './placed-list.ts';
import type { IoRequest } from './request-lane.ts';
import { RequestScheduler } from './request-scheduler.ts';

/** Finished requests kept for the next ones: as many as two lanes let in. */
const pooledMax = 64;
/**
 * A request is joined with a neighbour while both wait in the disk's scheduler. mq-deadline sends a write after 5 s, a read
 * after half a second, however busy the disk is (block/mq-deadline.c): by then neither waits for the other.
 */
const neighbourWaitMs = 5_000;

export interface ThreadSchedulerOptions {
  readonly arena: BufferArena;
  readonly arenaAddress: number;
  /** Requests in libuv's threads at once, all lanes together. */
  readonly inFlightMax: number;
  /** Of these, of one lane at most. */
  readonly laneDepthMax: number;
}

/**
 * Asks the kernel by blocking calls in libuv's threads. A hung disk keeps its threads: so a lane takes no more of them than it
 * leaves free, and each further disk that hangs gets half of the rest (R36).
 *
 * libuv has no I/O priorities to keep neighbours apart (`Apart`), so they are not in the kernel at one time: one waits here
 * until the other is answered.
 */
export class ThreadScheduler extends RequestScheduler {
  readonly #inFlightMax: number;
  readonly #arenaAddress: number;
  readonly #durableWriter: DurableWriter;
  readonly #running: PlacedList<IoRequest> = new PlacedList();
  /** Of these, requests that are to be kept apart. */
  #apartRunning = 0;
  /** Something waits for a neighbour. */
  #heldApart = false;
  #neighbourTimer: NodeJS.Timeout | undefined;

  constructor(options: ThreadSchedulerOptions) {
    super({ arena: options.arena, pooledMax, laneDepthMax: options.laneDepthMax });
    this.#inFlightMax = options.inFlightMax;
    this.#arenaAddress = options.arenaAddress;
    this.#durableWriter = new DurableWriter(options.inFlightMax);
  }

  override close(): void {
    super.close();
    clearTimeout(this.#neighbourTimer);
    this.#durableWriter.close();
  }

  protected override wake(): void {
    this.#heldApart = false;
    while (this.inKernel < this.#inFlightMax) {
      const request = this.ready.takeFirst(this.#mayStart);
      if (request === undefined) break;
      this.#start(request);
    }
    if (this.#heldApart) this.#lookAgainLater();
  }

  protected override kernelRequests(): Iterable<IoRequest> {
    return this.#running;
  }

  protected override forget(): void {
    // It has left `#running` with the kernel's answer, or never was there.
  }

  readonly #mayStart = (request: IoRequest): boolean => {
    const { threads } = request.lane!;
    if (threads > 0 && threads >= this.#inFlightMax - this.inKernel) return false;
    if (request.apart === Apart.no && this.#apartRunning === 0) return true;
    const nowMs = performance.now();
    for (const other of this.#running) {
      if (other.apart !== request.apart && areNeighbours(request, other)) {
        if (nowMs - other.startedMs >= neighbourWaitMs) continue;
        this.#heldApart = true;
        return false;
      }
    }
    return true;
  };

  /** For what waits for a neighbour that the disk does not answer. */
  #lookAgainLater(): void {
    if (this.#neighbourTimer !== undefined) return;
    this.#neighbourTimer = setTimeout(() => {
      this.#neighbourTimer = undefined;
      this.wake();
    }, neighbourWaitMs);
  }

  #start(request: IoRequest): void {
    request.startedMs = performance.now();
    this.#running.add(request);
    request.lane!.threads += 1;
    if (request.apart !== Apart.no) this.#apartRunning += 1;
    this.noteStarted(request);
    this.#call(request);
  }

  #call(request: IoRequest): void {
    const { fd } = request.lane!;
    const left = request.length - request.done;
    const answered = (result: number): void => this.#answer(request, result);
    const told = (error: NodeJS.ErrnoException | null, count = 0): void =>
      answered(error === null ? count : negativeErrno(error));
    switch (request.operation) {
      case Operation.read:
        read(fd, request.buffer!, request.done, left, positionOf(request), told);
        return;
      case Operation.write:
        // Not a second descriptor with O_DSYNC, which would have to be kept the same disk as the first one; and not an fdatasync
        // after it, which flushes the whole disk's cache and takes away the error of somebody else's write.
        if (request.operationFlags !== 0) this.#writeDurably(request, left, answered);
        else write(fd, request.buffer!, request.done, left, positionOf(request), told);
        return;
      case Operation.fsync:
        fdatasync(fd, told);
        return;
      default:
        assert(
          request.operation === Operation.fallocate,
          'ThreadScheduler: an operation that it does not have',
        );
        allocateRange(fd, request.operationFlags, request.fileOffset, request.length, answered);
    }
  }

  #writeDurably(request: IoRequest, left: number, answered: (result: number) => void): void {
    const address = this.#arenaAddress + request.buffer!.byteOffset + request.done;
    this.#durableWriter.write(request.lane!.fd, address, left, positionOf(request) ?? -1, answered);
  }

  #answer(request: IoRequest, result: number): void {
    this.#running.remove(request);
    request.lane!.threads -= 1;
    if (request.apart !== Apart.no) this.#apartRunning -= 1;
    if (result === -Errno.ESPIPE) {
      // Read where it stands, as io_uring does by itself.
      request.lane!.seekable = false;
      this.answered(request, -Errno.EAGAIN);
    } else {
      this.answered(request, result);
    }
    // A thread is free, and perhaps a neighbour.
    if (this.ready.length > 0) this.wake();
  }
}

/** Null for where the descriptor stands. */
function positionOf(request: IoRequest): number | null {
  return request.lane!.seekable ? request.fileOffset + request.done : null;
}

/** True where the disk's scheduler might make one request of both. */
function areNeighbours(one: IoRequest, other: IoRequest): boolean {
  return (
    one.lane === other.lane &&
    one.operation === other.operation &&
    (one.fileOffset + one.length === other.fileOffset || other.fileOffset + other.length === one.fileOffset)
  );
}

/** libuv's error numbers are the kernel's, negative. */
function negativeErrno(error: NodeJS.ErrnoException): number {
  // Without a number it is not the kernel's answer: a refusal of our arguments.
  return error.errno ?? -Errno.EINVAL;
}
