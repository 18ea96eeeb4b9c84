import { type Extent, IoFlags } from '../block/block-device.ts';
import { asDeviceError } from '../block/device-error.ts';
import { Errno } from '../block/errno.ts';
import { discardBlocks } from '../linux/block-ioctl.ts';
import { fallocateMode } from '../linux/file-calls.ts';
import { Operation } from '../linux/uring-numbers.ts';
import { extentsOfFile } from './file-extents.ts';
import type { IoEngine } from './io-engine.ts';
import { OneAtATime } from './one-at-a-time.ts';
import type { OpenedDescriptor } from './open-descriptor.ts';
import type { RequestFailure, RequestLane } from './request-lane.ts';

const punchHole = fallocateMode.punchHole | fallocateMode.keepSize;
const zeroRange = fallocateMode.zeroRange | fallocateMode.keepSize;

/** A way of zeroing without sending zeros, tried in this order. */
const ways = [punchHole, zeroRange] as const;
type Way = (typeof ways)[number];

export interface SpaceCommandsOptions {
  readonly engine: IoEngine;
  readonly descriptor: OpenedDescriptor;
  readonly errorOf: (failure: RequestFailure) => Error;
}

/**
 * What a disk or file system does to a range without being sent its bytes. What it refuses as unknown (EOPNOTSUPP) is not
 * asked for again (R15). Nothing here runs on the data thread: fallocate is done by kernel workers, the ioctl and lseek by
 * helper threads, of which one disk occupies two at most (R21, R36).
 *
 * On a block device `fallocate` means, since Linux 4.9 (block/fops.c): punching = zeroes that may give the room back, by the
 * disk itself or not at all; zeroing = zeroes that keep it, written by the kernel where the disk does not know how. Its third
 * mode, a plain discard, never got through: vfs_fallocate refuses FALLOC_FL_NO_HIDE_STALE. That is BLKDISCARD.
 */
export class SpaceCommands {
  readonly #options: SpaceCommandsOptions;
  readonly #isFile: boolean;
  readonly #diskZeroes: boolean;
  #discards: boolean;
  readonly #refusedWays = new Set<Way>();
  readonly #discarding = new OneAtATime();
  readonly #seeking = new OneAtATime();

  constructor(options: SpaceCommandsOptions) {
    const { kind, queue } = options.descriptor;
    this.#options = options;
    this.#isFile = kind === 'file';
    this.#diskZeroes = queue.zeroes;
    this.#discards = queue.discard;
  }

  /** False from the first refusal on. */
  get discards(): boolean {
    return this.#discards;
  }

  /**
   * Zeroes without being sent zeros. A file system either changes its tables or refuses; of the ways of a block device only
   * punching never falls back to writing.
   */
  get zeroesFast(): boolean {
    return this.#isFile ? this.#refusedWays.size < ways.length : this.#diskZeroes && this.#may(punchHole);
  }

  /** R20: best effort. A disk that does not know discard has done all that was promised. */
  async discard(lane: RequestLane, offset: number, length: number): Promise<void> {
    if (!this.#discards) return;
    const errno = this.#isFile
      ? await this.#allocate(lane, punchHole, offset, length)
      : await this.#discarding.run(() => discardBlocks(lane.fd, offset, length));
    if (errno === Errno.EOPNOTSUPP) this.#discards = false;
    else if (errno !== 0) throw this.#failure(errno, offset, length);
  }

  /** True when the range reads as zeros now; false when it has to be written: nobody here knows how, or it failed. */
  async zero(lane: RequestLane, offset: number, length: number, flags: number): Promise<boolean> {
    for (const way of ways) {
      if (!this.#may(way) || !this.#suits(way, flags)) continue;
      const errno = await this.#allocate(lane, way, offset, length);
      if (errno === 0) return true;
      if (errno !== Errno.EOPNOTSUPP) return false;
      this.#refusedWays.add(way);
    }
    return false;
  }

  /** Block devices do not tell: everything is data. */
  extents(lane: RequestLane, offset: number, length: number): Promise<readonly Extent[]> {
    if (!this.#isFile) return Promise.resolve([{ length, state: 'data' }]);
    const { logicalBlockBytes } = this.#options.descriptor;
    return this.#seeking.run(() => extentsOfFile(lane.fd, offset, length, logicalBlockBytes));
  }

  #may(way: Way): boolean {
    return !this.#refusedWays.has(way);
  }

  #suits(way: Way, flags: number): boolean {
    if (way === punchHole && (flags & IoFlags.keepAllocated) !== 0) return false;
    // Punching a block device that cannot is refused in no time; asking it where its queue says no is one call less.
    if (way === punchHole && !this.#isFile && !this.#diskZeroes) return false;
    return way === punchHole || this.#isFile || (flags & IoFlags.onlyIfFast) === 0;
  }

  /** The errno of fallocate, 0 when done. */
  async #allocate(lane: RequestLane, mode: number, offset: number, length: number): Promise<number> {
    try {
      await this.#options.engine.allocate(lane, mode, offset, length);
      return 0;
    } catch (error) {
      return asDeviceError(error).errno;
    }
  }

  #failure(errno: number, fileOffset: number, length: number): Error {
    const operation = Operation.fallocate;
    return this.#options.errorOf({ operation, errno, timedOut: false, fileOffset, length, done: 0 });
  }
}
