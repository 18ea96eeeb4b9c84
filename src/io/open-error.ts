import process from 'node:process';
import { Errno, errnoName } from '../block/errno.ts';

export type OpenErrorCode =
  | 'OPEN_NOT_FOUND'
  | 'OPEN_DIRECTORY'
  | 'OPEN_NOT_A_DISK'
  | 'OPEN_PERMISSION'
  | 'OPEN_READ_ONLY'
  | 'OPEN_IN_USE'
  | 'OPEN_EMPTY'
  | 'OPEN_TOO_LARGE'
  | 'OPEN_RAGGED'
  | 'OPEN_NO_DIRECT'
  | 'OPEN_WRITEBACK_ON_DISK'
  | 'OPEN_EXISTS'
  | 'OPEN_OTHER_DISK'
  | 'OPEN_FILE_CUT'
  | 'OPEN_UNSUITABLE'
  | 'OPEN_NO_SPACE'
  | 'OPEN_FAILED';

/** A file or disk that cannot be opened as asked. The message is one line: what is wrong, what was expected, what to do. */
export class OpenError extends Error {
  override readonly name = 'OpenError';
  /** Stable. */
  readonly code: OpenErrorCode;
  readonly path: string;

  constructor(code: OpenErrorCode, path: string, what: string, cause?: unknown) {
    super(`${path}: ${what}`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.path = path;
  }
}

/** What to do about a disk or file that somebody else has. */
export const endUse = 'end that first: "lsblk" and "fuser -v" show who it is, "dm-remap ls" our own';

/** What may be done about a refusal: it depends on who was refused. */
function permissionError(path: string, errno: number, userId: number, cause: unknown): OpenError {
  const what = errno === Errno.EACCES ? 'permission denied' : 'operation not permitted';
  const advice =
    userId === 0
      ? 'root itself may not: look at "lsattr" (immutable?), the mount options, and what a container or sandbox allows'
      : 'run as root or as a user who may write it';
  return new OpenError('OPEN_PERMISSION', path, `${what}; ${advice}`, cause);
}

const byErrno: ReadonlyMap<number, readonly [OpenErrorCode, string]> = new Map([
  [Errno.ENOENT, ['OPEN_NOT_FOUND', 'no such file or device']],
  [Errno.ENOTDIR, ['OPEN_NOT_FOUND', 'no such file or device']],
  [Errno.ENXIO, ['OPEN_NOT_FOUND', 'no device behind this name']],
  [Errno.ENODEV, ['OPEN_NOT_FOUND', 'no device behind this name']],
  [Errno.EISDIR, ['OPEN_DIRECTORY', 'is a directory; an image file or a block device is needed']],
  [Errno.EROFS, ['OPEN_READ_ONLY', 'is read-only']],
  [
    Errno.EBUSY,
    [
      'OPEN_IN_USE',
      `in use: mounted, swapped on, part of another device, or opened by another process; ${endUse}`,
    ],
  ],
  [Errno.EEXIST, ['OPEN_EXISTS', 'exists already; choose another name or remove it']],
  [Errno.ENOSPC, ['OPEN_NO_SPACE', 'no space left on the file system']],
  [Errno.EDQUOT, ['OPEN_NO_SPACE', 'disk quota exceeded']],
  [Errno.EFBIG, ['OPEN_NO_SPACE', 'larger than the file system allows']],
]);

/** The refusal that a kernel's positive error number stands for. */
export function openErrorOfErrno(
  path: string,
  errno: number,
  doing: string,
  cause?: unknown,
  userId: number = process.getuid?.() ?? 0,
): OpenError {
  if (errno === Errno.EACCES || errno === Errno.EPERM) return permissionError(path, errno, userId, cause);
  const known = byErrno.get(errno);
  if (known !== undefined) return new OpenError(known[0], path, known[1], cause);
  return new OpenError('OPEN_FAILED', path, `${doing} failed: ${errnoName(errno)}`, cause);
}

/**
 * Throws for a path with a zero byte, which no file has and `node:fs` takes for a bug of its caller's: paths also come out of
 * superblocks and tables.
 */
export function refuseZeroByte(path: string): void {
  if (path.includes('\0')) {
    throw new OpenError('OPEN_NOT_FOUND', path, 'no such file or device: the name has a zero byte');
  }
}

/** As `openErrorOfErrno` for what `node:fs` throws; anything else is our bug and is thrown on. */
export function asOpenError(path: string, error: unknown, doing: string): OpenError {
  if (error instanceof OpenError) return error;
  if (error instanceof Error && 'errno' in error && typeof error.errno === 'number') {
    return openErrorOfErrno(path, Math.abs(error.errno), doing, error);
  }
  throw error;
}
