import { deviceError } from './device-error.ts';
import { Errno } from './errno.ts';

/** 512 bytes: the unit of tables, messages and the disk format. Never the unit of `offset` and `length`. */
export const sectorBytes = 512;

/** Sizes are bytes, exact to 2^53 - 1; a larger device is refused where it is opened. */
export interface Geometry {
  readonly sizeBytes: number;
  /** Every offset and length is a multiple of it. A power of two, 512 to 4096 for disks. */
  readonly logicalBlockBytes: number;
  /** The unit that fails, and that a remap moves. A power of two, at least the logical block. */
  readonly physicalBlockBytes: number;
}

/** What a device can do. A filter may clear a capability of what lies below it, never set one. */
export interface Capabilities {
  readonly write: boolean;
  readonly flush: boolean;
  readonly fua: boolean;
  readonly discard: boolean;
  readonly writeZeroes: boolean;
  readonly fastZeroes: boolean;
  readonly rotational: boolean;
  /** Acknowledges writes before they are on the media (R8). Taken for true where nobody says. */
  readonly volatileCache?: boolean;
}

/** Bits of `flags`. Unknown bits are ignored. */
export const IoFlags = {
  none: 0,
  /** The write is durable when it settles. */
  fua: 1,
  /** Zeroing and discarding must leave the range allocated. */
  keepAllocated: 2,
  /** Refuse (`unsupported`) when it would not be faster than writing. */
  onlyIfFast: 4,
  /** May be delayed behind other requests. */
  background: 8,
  /** Must share its fate with no neighbour: see `apart`. */
  apartEven: 16,
  apartOdd: 32,
} as const;

/**
 * For a request whose failure is to say something about its own blocks. A kernel joins requests that follow each other on a
 * disk, and when one block of what it joined is bad, all of them fail; sent again together they are joined and fail again.
 * Neighbours with flags of different parity are not joined, nor is one with a request that has no such flag.
 */
export function apart(index: number): number {
  return index % 2 === 0 ? IoFlags.apartEven : IoFlags.apartOdd;
}

/**
 * - `data`        nothing is known, or not zeros
 * - `zero`        reads as zeros
 * - `hole`        reads as zeros, and takes no room below
 * - `remapped`    the newest bytes are on a spare
 * - `unreadable`  the only bytes are on main, which did not give them
 * - `gone`        nobody has the newest bytes any more
 */
export type ExtentState = 'data' | 'zero' | 'hole' | 'remapped' | 'unreadable' | 'gone';

/** `length` bytes of one state. */
export interface Extent {
  readonly length: number;
  readonly state: ExtentState;
}

/**
 * Everything that holds blocks. Offsets and lengths are bytes and multiples of the logical block; a request that is not,
 * or that leaves the device, rejects with kind `invalid` and touches nothing. Every rejection is a `DeviceError`, anything
 * else is a bug of ours and ends the process. No method throws synchronously.
 *
 * The loan rule: from the call until the promise settles the buffer is lent to the device; the caller neither touches nor
 * releases it. A device keeps no reference past settlement unless it holds the buffer (`BufferArena.hold`), which an engine
 * does for every kernel request until the kernel has answered (I27). A device never changes `source`.
 */
export interface BlockDevice {
  readonly name: string;
  readonly geometry: Geometry;
  readonly capabilities: Capabilities;
  /**
   * Grows whenever a flush below has failed: everything written before and not yet flushed is in doubt (R7). Whoever serves
   * several clients tells each of them once, for only one of them waited for that flush. Absent where nothing counts it.
   */
  readonly flushEpoch?: number | undefined;
  /** Fills `target`. Rejects naming every failed range; bytes outside the ranges are valid. */
  read(target: Uint8Array, offset: number, flags?: number): Promise<void>;
  /** Stores `source`. Failed ranges hold old or new bytes, block by block. */
  write(source: Uint8Array, offset: number, flags?: number): Promise<void>;
  /** All writes that settled before the call are durable when it resolves. */
  flush(): Promise<void>;
  /** Contents of the range are undefined afterwards. */
  discard(offset: number, length: number, flags?: number): Promise<void>;
  writeZeroes(offset: number, length: number, flags?: number): Promise<void>;
  /** States of a range in order, at least one, may cover less than asked. */
  extents(offset: number, length: number): Promise<readonly Extent[]>;
  /**
   * Resolves when no request on the range that was answered with `timed-out` is alive any more (R3). A device that gives up
   * on writes has it: until then such a write may still reach the disk. Does not reject.
   */
  drained?(offset: number, length: number): Promise<void>;
  /**
   * Closes a descriptor that is dead (ENODEV, ENXIO) and opens the same disk again, verified by its identity (R32). Rejects
   * with a `DeviceError` of kind `path` when the disk is not there or is another one; it can be called again. Requests that
   * are under way, or come meanwhile, reject. What was not flushed before is in doubt, and the caller's to tell (R7).
   */
  reopen?(): Promise<void>;
  /** New requests reject with `closed`; resolves when none is in flight; idempotent; does not reject. */
  close(): Promise<void>;
}

/** Why a request cannot be served by a device of this shape, or undefined when it can. */
export function invalidRequest(geometry: Geometry, offset: number, length: number): string | undefined {
  const block = geometry.logicalBlockBytes;
  if (!Number.isSafeInteger(offset) || offset < 0) return `offset ${offset} is not a byte position`;
  if (!Number.isSafeInteger(length) || length <= 0)
    return `length ${length} is not a positive number of bytes`;
  if (offset + length > geometry.sizeBytes) {
    return `bytes ${offset} to ${offset + length} leave the device of ${geometry.sizeBytes} bytes`;
  }
  if (offset % block !== 0 || length % block !== 0) {
    return `offset ${offset}, length ${length} are not multiples of the logical block of ${block} bytes`;
  }
  return undefined;
}

/**
 * The first line of every data method: a rejected promise for a request the device cannot serve, else undefined.
 * Three comparisons on the path of a good request, so it is repeated at every layer rather than trusted.
 */
export function rejectInvalid(
  device: BlockDevice,
  offset: number,
  length: number,
): Promise<never> | undefined {
  const reason = invalidRequest(device.geometry, offset, length);
  if (reason === undefined) return undefined;
  return Promise.reject(deviceError(device.name, 'invalid', offset, length, Errno.EINVAL, reason));
}
