import { assert } from '../block/assert.ts';
import type { Geometry } from '../block/block-device.ts';
import { type DeviceError, deviceError } from '../block/device-error.ts';
import { Errno, type FailureKind, failureKindOfErrno } from '../block/errno.ts';
import { blockDeviceBytes } from '../linux/block-ioctl.ts';
import { Operation } from '../linux/uring-numbers.ts';
import type { RequestFailure } from './request-lane.ts';

/** What an error says of the disk that it is about. */
export interface FailedDisk {
  readonly name: string;
  readonly kind: 'block' | 'file';
  readonly geometry: Geometry;
}

/** R15: the error of a request on the descriptor `fd`. Names only what is not known to be good: a block that was cut is not. */
export function diskFailure(disk: FailedDisk, fd: number, failure: RequestFailure): DeviceError {
  const { name, geometry } = disk;
  const errno = isBehindTheEnd(disk, fd, failure) ? Errno.ENXIO : failure.errno;
  const kind = failure.timedOut ? 'timed-out' : kindOf(failure.operation, errno);
  assert(kind !== 'bug', `${name}: the kernel refused operation ${failure.operation} as malformed`);
  // A flush has no length: it is about everything.
  if (failure.length === 0) return deviceError(name, kind, 0, geometry.sizeBytes, errno);
  // Whole blocks of the device, wherever the request began: the ring may have got the rest of a read within a block.
  const good = failure.fileOffset + failure.done;
  const offset = good - (good % geometry.logicalBlockBytes);
  return deviceError(name, kind, offset, failure.fileOffset + failure.length - offset, errno);
}

/**
 * A disk that was pulled out has no size any more (del_gendisk sets its capacity to 0), and block/fops.c answers what lies behind
 * the end before it asks the disk: writes ENOSPC, fallocate and BLKDISCARD EINVAL. Without this look a writer would never hear
 * that the disk has gone (R32), and a discard would end the process.
 */
function isBehindTheEnd({ kind }: FailedDisk, fd: number, failure: RequestFailure): boolean {
  const { errno, timedOut, fileOffset, length } = failure;
  if (kind !== 'block' || timedOut || (errno !== Errno.ENOSPC && errno !== Errno.EINVAL)) return false;
  return fileOffset + length > blockDeviceBytes(fd);
}

/** EINVAL for what may be left undone, or be written instead, is a file system's or a disk's peculiarity and no bug of ours. */
function kindOf(operation: Operation, errno: number): FailureKind | 'bug' {
  const kind = failureKindOfErrno(errno);
  return kind === 'bug' && operation === Operation.fallocate ? 'refused' : kind;
}
