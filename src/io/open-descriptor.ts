import { close, constants, fstat, fsync, open, type Stats, stat, statfs } from 'node:fs';
import { promisify } from 'node:util';
import { Errno } from '../block/errno.ts';
import { type BlockDeviceFacts, blockDeviceFacts, flushBlockBuffers } from '../linux/block-ioctl.ts';
import { directAlignment, dropCachedPages, lockOpenFile } from '../linux/file-calls.ts';
import { SystemCallError } from '../linux/system-call.ts';
import { type DiskQueue, readDiskQueue } from './disk-queue.ts';
import { findUsers } from './disk-usage.ts';
import { asOpenError, endUse, OpenError, openErrorOfErrno, refuseZeroByte } from './open-error.ts';

// All of these run on libuv's threads: opening a dying disk may take minutes.
const openAsync = promisify(open);
const statAsync = promisify(stat);
const fstatAsync = promisify(fstat);
const fsyncAsync = promisify(fsync);
const statfsAsync = promisify(statfs);
export const closeAsync: (fd: number) => Promise<void> = promisify(close);

/** linux/include/uapi/linux/magic.h. These keep files in memory only; O_DIRECT there is a pretence. */
const memoryFileSystems: ReadonlySet<number> = new Set([0x01021994, 0x858458f6]);

/** Image files: the unit that file systems and today's disks write. */
const filePhysicalBlockBytes = 4096;
const sectorBytesMin = 512;

export interface OpenRequest {
  readonly path: string;
  readonly cache: 'none' | 'writeback';
  readonly readOnly: boolean;
  /** Refuse what somebody else uses, and keep others away: O_EXCL on block devices, a lock on files. */
  readonly lock: boolean;
}

export interface OpenedDescriptor {
  readonly fd: number;
  readonly kind: 'block' | 'file';
  readonly sizeBytes: number;
  readonly logicalBlockBytes: number;
  readonly physicalBlockBytes: number;
  /** What direct I/O asks of a buffer's address. */
  readonly memoryAlignBytes: number;
  readonly rotational: boolean;
  /** As a disk's queue says. A file's disks nobody asked: its cache is volatile unless each write is durable (R8). */
  readonly queue: DiskQueue;
  /** False when reads and writes go through the page cache. */
  readonly direct: boolean;
  /** On a file system in memory: reads and writes never wait for a disk. */
  readonly inMemory: boolean;
}

/** @throws OpenError with one clear line and a stable code. Leaves nothing open behind. */
export async function openDescriptor(request: OpenRequest): Promise<OpenedDescriptor> {
  const { path } = request;
  refuseZeroByte(path);
  // Looked at before it is opened: opening a tape rewinds it, opening a FIFO waits.
  const before = await orRefuse(path, 'stat', statAsync(path));
  const kind = kindOf(path, before);
  if (kind === 'block' && request.cache === 'writeback') {
    throw new OpenError(
      'OPEN_WRITEBACK_ON_DISK',
      path,
      'is a block device; cache=writeback is for image files only, use cache=none',
    );
  }
  const inMemory =
    kind === 'file' && memoryFileSystems.has((await orRefuse(path, 'statfs', statfsAsync(path))).type);
  const wantDirect = request.cache === 'none' && !inMemory;
  const opened = await openWithFlags(request, kind, wantDirect);
  try {
    return await describe(request, kind, opened.fd, opened.direct, inMemory);
  } catch (error) {
    await closeAsync(opened.fd);
    if (error instanceof SystemCallError) throw openErrorOfErrno(path, error.errno, error.call, error);
    throw error;
  }
}

function kindOf(path: string, stats: Stats): 'block' | 'file' {
  if (stats.isBlockDevice()) return 'block';
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) {
    throw new OpenError('OPEN_DIRECTORY', path, 'is a directory; an image file or a block device is needed');
  }
  const what = stats.isCharacterDevice() ? 'a character device' : stats.isFIFO() ? 'a pipe' : 'a socket';
  throw new OpenError('OPEN_NOT_A_DISK', path, `is ${what}; an image file or a block device is needed`);
}

async function openWithFlags(
  request: OpenRequest,
  kind: 'block' | 'file',
  wantDirect: boolean,
): Promise<{ fd: number; direct: boolean }> {
  const access = request.readOnly ? constants.O_RDONLY : constants.O_RDWR;
  const flags = access | (kind === 'block' && request.lock ? constants.O_EXCL : 0);
  if (!wantDirect)
    return { fd: await orRefuse(request.path, 'open', openAsync(request.path, flags)), direct: false };
  try {
    return { fd: await openAsync(request.path, flags | constants.O_DIRECT), direct: true };
  } catch (error) {
    const errno = error instanceof Error && 'errno' in error ? error.errno : 0;
    if (errno === -Errno.EBUSY) throw await inUseByName(request.path, error);
    if (errno !== -Errno.EINVAL) throw asOpenError(request.path, error, 'open');
    if (kind === 'block') throw noDirect(request.path, error);
    return { fd: await orRefuse(request.path, 'open', openAsync(request.path, flags)), direct: false };
  }
}

/** R27: whoever keeps a block device from being ours alone is told by name where the kernel tells it. */
async function inUseByName(path: string, cause: unknown): Promise<OpenError> {
  const users = await orRefuse(path, 'stat', findUsers(path));
  const what =
    users.length === 0
      ? 'in use: another process has it for itself'
      : `in use: ${users.map(({ text }) => text).join(', ')}`;
  return new OpenError('OPEN_IN_USE', path, `${what}; ${endUse}`, cause);
}

function noDirect(path: string, cause?: unknown): OpenError {
  return new OpenError(
    'OPEN_NO_DIRECT',
    path,
    'this block device refuses direct I/O, so errors would hide in the page cache; it cannot be used',
    cause,
  );
}

async function describe(
  request: OpenRequest,
  kind: 'block' | 'file',
  fd: number,
  openedDirect: boolean,
  inMemory: boolean,
): Promise<OpenedDescriptor> {
  const { path } = request;
  const stats = await orRefuse(path, 'stat', fstatAsync(fd));
  if (kindOf(path, stats) !== kind)
    throw new OpenError('OPEN_FAILED', path, 'was replaced while it was opened');
  const facts = kind === 'block' ? blockDeviceFacts(fd) : fileFacts(stats);
  const alignment = openedDirect ? directAlignment(fd) : undefined;
  // The kernel answers 0 where it would do direct I/O through the page cache or not at all.
  const direct = openedDirect && alignment?.offsetBytes !== 0;
  if (kind === 'block' && !direct) throw noDirect(path);
  const logicalBlockBytes = Math.max(
    facts.logicalBlockBytes,
    kind === 'file' && direct ? (alignment?.offsetBytes ?? 0) : 0,
  );
  const sizeBytes = checkedSize(path, facts.sizeBytes, logicalBlockBytes);
  if (facts.readOnly && !request.readOnly) throw new OpenError('OPEN_READ_ONLY', path, 'is read-only');
  if (kind === 'file' && request.lock && !lockOpenFile(fd, request.readOnly ? 'shared' : 'exclusive')) {
    throw new OpenError(
      'OPEN_IN_USE',
      path,
      `in use: another process, or another device of this one, has it open; ${endUse}`,
    );
  }
  if (direct) await dropForeignCache(path, kind, fd);
  return {
    fd,
    kind,
    sizeBytes,
    logicalBlockBytes,
    physicalBlockBytes: Math.max(facts.physicalBlockBytes, logicalBlockBytes),
    memoryAlignBytes: Math.max(alignment?.memoryBytes ?? sectorBytesMin, 1),
    rotational: facts.rotational,
    queue:
      kind === 'block' ? await readDiskQueue(stats.rdev) : fileQueue(direct || request.cache === 'writeback'),
    direct,
    inMemory,
  };
}

function fileFacts(stats: Stats): BlockDeviceFacts {
  return {
    // Refused below when it is not exact.
    sizeBytes: BigInt(stats.size),
    logicalBlockBytes: sectorBytesMin,
    physicalBlockBytes: filePhysicalBlockBytes,
    rotational: false,
    readOnly: false,
  };
}

function checkedSize(path: string, size: bigint, logicalBlockBytes: number): number {
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new OpenError(
      'OPEN_TOO_LARGE',
      path,
      `is ${size} bytes; at most ${Number.MAX_SAFE_INTEGER} are supported`,
    );
  }
  const sizeBytes = Number(size);
  if (sizeBytes === 0) throw new OpenError('OPEN_EMPTY', path, 'is empty (0 bytes); a size is needed');
  const tail = sizeBytes % logicalBlockBytes;
  if (tail === 0) return sizeBytes;
  const whole = sizeBytes - tail;
  if (whole === 0) {
    throw new OpenError(
      'OPEN_RAGGED',
      path,
      `is ${sizeBytes} bytes, less than one block of ${logicalBlockBytes}`,
    );
  }
  throw new OpenError(
    'OPEN_RAGGED',
    path,
    `is ${sizeBytes} bytes, not a multiple of its block of ${logicalBlockBytes}; cut it with: truncate -s ${whole} ${path}`,
  );
}

/** Whether a file system knows how to make holes and zeros, its first refusal tells. */
function fileQueue(volatileCache: boolean): DiskQueue {
  return { volatileCache, discard: true, zeroes: true };
}

/**
 * R27: what others left in the page cache is written out and dropped, so that no later write-back of theirs overwrites
 * us, and no read of ours is answered from memory instead of from the disk.
 */
async function dropForeignCache(path: string, kind: 'block' | 'file', fd: number): Promise<void> {
  await orRefuse(path, 'writing out the page cache (fsync)', fsyncAsync(fd));
  // BLKFLSBUF is for administrators; whoever may open the disk may at least drop its clean pages.
  if (kind === 'block' && (await flushBlockBuffers(fd))) return;
  dropCachedPages(fd);
}

async function orRefuse<T>(path: string, doing: string, promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    throw asOpenError(path, error, doing);
  }
}
