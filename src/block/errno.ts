/**
 * The closed errno table (rule R15): what each error number of the kernel says about a device.
 * Numbers: linux/include/uapi/asm-generic/errno-base.h and errno.h. Meaning per block status: block/blk-core.c, blk_errors.
 */

/**
 * What a failure is about.
 *
 * - `medium`       the sector is bad, definitely
 * - `suspect`      the sector or the path: a probe of a good sector decides
 * - `path`         the device as a whole cannot be reached
 * - `transient`    may succeed when tried again, a bounded number of times
 * - `timed-out`    no answer before the deadline; a write may still happen
 * - `no-space`     the device has no room; never a reason to remap
 * - `refused`      the device does not allow the request
 * - `unsupported`  the device does not know the request
 * - `lost`         the sector is listed as lost: nobody has its bytes
 * - `closed`       the device is closing or closed
 * - `invalid`      a request outside the device or not aligned to its logical block
 */
export type FailureKind =
  | 'medium'
  | 'suspect'
  | 'path'
  | 'transient'
  | 'timed-out'
  | 'no-space'
  | 'refused'
  | 'unsupported'
  | 'lost'
  | 'closed'
  | 'invalid';

export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  EMFILE: 24,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EPIPE: 32,
  ENOSYS: 38,
  EBADE: 52,
  ENODATA: 61,
  ETIME: 62,
  ENOLINK: 67,
  EOVERFLOW: 75,
  EILSEQ: 84,
  EOPNOTSUPP: 95,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ENOTCONN: 107,
  ESHUTDOWN: 108,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EREMOTEIO: 121,
  EDQUOT: 122,
  ECANCELED: 125,
} as const;

const kindByErrno: ReadonlyMap<number, FailureKind | 'bug'> = new Map([
  [Errno.ENODATA, 'medium'],

  [Errno.EIO, 'suspect'],
  [Errno.EREMOTEIO, 'suspect'],
  [Errno.EILSEQ, 'suspect'],
  [Errno.ETIMEDOUT, 'suspect'],

  [Errno.ENODEV, 'path'],
  [Errno.ENXIO, 'path'],
  [Errno.ENOLINK, 'path'],
  [Errno.ESHUTDOWN, 'path'],
  [Errno.ENOTCONN, 'path'],
  [Errno.ECONNRESET, 'path'],
  [Errno.EPIPE, 'path'],
  [Errno.EBADE, 'path'],
  [Errno.ETIME, 'path'],

  [Errno.ENOSPC, 'no-space'],
  [Errno.EDQUOT, 'no-space'],
  [Errno.EFBIG, 'no-space'],

  [Errno.EROFS, 'refused'],
  [Errno.EPERM, 'refused'],
  [Errno.EACCES, 'refused'],

  [Errno.EAGAIN, 'transient'],
  [Errno.EINTR, 'transient'],
  [Errno.ENOMEM, 'transient'],
  [Errno.EBUSY, 'transient'],
  [Errno.ECANCELED, 'transient'],

  [Errno.EOPNOTSUPP, 'unsupported'],
  [Errno.ENOSYS, 'unsupported'],

  [Errno.EINVAL, 'bug'],
  [Errno.EFAULT, 'bug'],
]);

/**
 * The kind of failure that a positive error number stands for; `bug` means that we asked wrongly and must stop.
 * Numbers outside the table are about the path: never a reason to remap.
 */
export function failureKindOfErrno(errno: number): FailureKind | 'bug' {
  return kindByErrno.get(errno) ?? 'path';
}

const nameByErrno: ReadonlyMap<number, string> = new Map(
  Object.entries(Errno).map(([name, errno]) => [errno, name]),
);

/** `EIO` for 5; `errno 999` for a number without a name here. */
export function errnoName(errno: number): string {
  return nameByErrno.get(errno) ?? `errno ${errno}`;
}

/** The disk has left: only opening it anew can help (R32). */
export function isGone(errno: number): boolean {
  return errno === Errno.ENODEV || errno === Errno.ENXIO;
}
