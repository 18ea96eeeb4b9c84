import type { BufferArena } from '../block/buffer-arena.ts';
import type { Apart } from './apart.ts';
import type { RequestLane } from './request-lane.ts';

/** As `status` and the log say it. */
export type EngineName = 'io_uring' | 'node';

/** What people may ask for; nothing asked means `uring` where it is to be had, else `node`. */
export const engineChoices = ['uring', 'node'] as const;
export type EngineChoice = (typeof engineChoices)[number];

/**
 * Requests to descriptors as plain promises: one promise a request, settled exactly once (I8). A buffer of the arena is
 * held from the call until the kernel has answered, whatever a deadline said (I27). Short transfers are continued, EINTR and
 * EAGAIN retried a bounded number of times. Which error a failure becomes, the lane says.
 */
export interface IoEngine {
  readonly name: EngineName;
  /** Every buffer of a request lies in it. */
  readonly arena: BufferArena;
  /** The kernel's name for the arena's first byte. */
  readonly arenaAddress: number;
  /** Errno of the refusal to lock the engine's own queues in memory, 0 when locked or when it has none. */
  readonly lockErrno: number;
  /** Requests that the kernel has not answered. */
  readonly inFlight: number;
  /** Requests whose deadline has passed while the kernel still holds their buffer. */
  readonly zombies: number;
  /** Times that requests were handed to the kernel since the start: an idle engine adds none. */
  readonly submissions: number;

  /**
   * Reads all of `target`, which lies in the arena. Rejects as the lane says after `timeoutMs`. What has no offsets, as a
   * pipe, is read where it stands.
   */
  read(
    lane: RequestLane,
    target: Uint8Array,
    fileOffset: number,
    timeoutMs?: number,
    apart?: Apart,
  ): Promise<void>;

  /** Writes all of `source`, which lies in the arena. `durable`: on stable storage when it resolves (RWF_DSYNC). */
  write(
    lane: RequestLane,
    source: Uint8Array,
    fileOffset: number,
    durable: boolean,
    apart?: Apart,
  ): Promise<void>;

  /** fdatasync. Never retried: a second answer would say nothing about what the first one lost. */
  syncData(lane: RequestLane): Promise<void>;

  /** fallocate with FALLOC_FL_ bits, off the calling thread. */
  allocate(lane: RequestLane, mode: number, fileOffset: number, length: number): Promise<void>;

  /** Resolves when the kernel has answered everything, zombies included. Idempotent. */
  close(): Promise<void>;
}
