import { endianness } from 'node:os';
import { assert } from '../block/assert.ts';
import { Errno } from '../block/errno.ts';
import { MemoryMapping } from './memory-mapping.ts';
import { bindLibc, lastErrno, SystemCallError } from './system-call.ts';

/** linux/include/uapi/linux/fs.h */
export const rwFlag = { dataSync: 0x2, noWait: 0x8 } as const;

/** linux/include/uapi/linux/falloc.h */
export const fallocateMode = { keepSize: 0x01, punchHole: 0x02, zeroRange: 0x10 } as const;

/** linux/include/uapi/linux/fadvise.h */
const POSIX_FADV_DONTNEED = 4;

/** linux/include/uapi/asm-generic/fcntl.h */
const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;

/** linux/include/uapi/linux/stat.h and struct statx; Linux 6.1. */
const STATX_DIOALIGN = 0x2000;
const AT_EMPTY_PATH = 0x1000;
const statxBytes = 256;
const statxMaskOffset = 0;
const statxDirectMemoryAlignOffset = 152;
const statxDirectOffsetAlignOffset = 156;

type VectorCall = (fd: number, vectors: number, count: number, offset: number, flags: number) => number;
const vectorParameters = ['int', 'size_t', 'int', 'int64_t', 'int'] as const;
const preadv2 = bindLibc<VectorCall>('preadv2', 'intptr_t', vectorParameters);
const pwritev2 = bindLibc<VectorCall>('pwritev2', 'intptr_t', vectorParameters);

type PlainCall = (fd: number, address: number, length: number, offset: number) => number;
const pread = bindLibc<PlainCall>('pread', 'intptr_t', ['int', 'size_t', 'size_t', 'int64_t']);
const pwrite = bindLibc<PlainCall>('pwrite', 'intptr_t', ['int', 'size_t', 'size_t', 'int64_t']);

const fcntl = bindLibc<(fd: number, command: number, lock: Uint8Array) => number>('fcntl', 'int', [
  'int',
  'int',
  'void *',
]);
const posixFadvise = bindLibc<(fd: number, offset: number, length: number, advice: number) => number>(
  'posix_fadvise',
  'int',
  ['int', 'int64_t', 'int64_t', 'int'],
);
const fallocateFunction = bindLibc<(fd: number, mode: number, offset: number, length: number) => number>(
  'fallocate',
  'int',
  ['int', 'int', 'int64_t', 'int64_t'],
);
const statx = bindLibc<(fd: number, path: string, flags: number, mask: number, result: Uint8Array) => number>(
  'statx',
  'int',
  ['int', 'str', 'int', 'uint', 'void *'],
);

/** Every structure here is written for the byte order of all machines that run Node 20 on Linux but s390x. */
assert(endianness() === 'LE', 'linux/: this machine is big-endian, the structures are written little-endian');

const twoTo32 = 0x1_0000_0000;
/** sizeof(struct iovec) */
const vectorBytes = 16;

/** One iovec in memory of its own: preadv2 is the only read that takes RWF_NOWAIT. */
export class NoWaitReader {
  readonly #mapping: MemoryMapping = MemoryMapping.anonymous(4096);
  readonly #words: Uint32Array = new Uint32Array(this.#mapping.buffer, 0, 4);

  /** Reads what is in the page cache. Returns bytes, or the negative errno; -EAGAIN when it would wait. */
  read(fd: number, address: number, length: number, offset: number): number {
    const words = this.#words;
    words[0] = address % twoTo32;
    words[1] = Math.floor(address / twoTo32);
    words[2] = length;
    const result = preadv2(fd, this.#mapping.address, 1, offset, rwFlag.noWait);
    return result < 0 ? -lastErrno() : result;
  }

  close(): void {
    this.#mapping.unmap();
  }
}

/** Bytes read, or the negative errno. */
export function readAt(fd: number, address: number, length: number, offset: number): number {
  const result = pread(fd, address, length, offset);
  return result < 0 ? -lastErrno() : result;
}

/** Bytes written, or the negative errno. */
export function writeAt(fd: number, address: number, length: number, offset: number): number {
  const result = pwrite(fd, address, length, offset);
  return result < 0 ? -lastErrno() : result;
}

/**
 * Takes an open-file-description lock on the whole file; false when somebody else has one that excludes it.
 * Not a POSIX lock: those vanish when any descriptor of the file is closed anywhere in the process.
 */
export function lockOpenFile(fd: number, kind: 'shared' | 'exclusive'): boolean {
  // struct flock: type i16, whence i16, pad, start i64, length i64 (0 = to the end), pid i32 (0 for OFD locks).
  const lock = new Uint8Array(32);
  new DataView(lock.buffer).setInt16(0, kind === 'shared' ? F_RDLCK : F_WRLCK, true);
  if (fcntl(fd, F_OFD_SETLK, lock) === 0) return true;
  const errno = lastErrno();
  if (errno === Errno.EAGAIN || errno === Errno.EACCES) return false;
  throw new SystemCallError('fcntl(F_OFD_SETLK)', errno);
}

/** Drops clean pages of the whole file from the page cache: what is read next comes from the disk. */
export function dropCachedPages(fd: number): void {
  const errno = posixFadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  if (errno !== 0) throw new SystemCallError('posix_fadvise', errno);
}

/** Allocates `length` bytes from the start of the file, off the calling thread. */
export function allocateFile(fd: number, length: number): Promise<boolean> {
  return new Promise((resolve) => {
    allocateRange(fd, 0, 0, length, (result) => resolve(result === 0));
  });
}

/** fallocate off the calling thread, on one of libuv's; `answered` gets 0 or the negative errno. */
export function allocateRange(
  fd: number,
  mode: number,
  offset: number,
  length: number,
  answered: (result: number) => void,
): void {
  fallocateFunction.async(fd, mode, offset, length, (error, result) => answered(asyncResult(error, result)));
}

/**
 * Writes with RWF_DSYNC off the calling thread, on one of libuv's. libuv has no such call of its own. koffi keeps the errno
 * of the thread that made the call for the callback.
 */
export class DurableWriter {
  readonly #mapping: MemoryMapping;
  readonly #words: Uint32Array;
  readonly #free: number[];

  /** `callsMax` is the number of writes at once. */
  constructor(callsMax: number) {
    this.#mapping = MemoryMapping.anonymous(callsMax * vectorBytes);
    this.#words = new Uint32Array(this.#mapping.buffer);
    this.#free = Array.from({ length: callsMax }, (_, index) => index);
  }

  /** `answered` gets the bytes written or the negative errno. An `offset` of -1 is the descriptor's own position. */
  write(
    fd: number,
    address: number,
    length: number,
    offset: number,
    answered: (result: number) => void,
  ): void {
    const slot = this.#free.pop();
    assert(slot !== undefined, 'DurableWriter: more writes at once than were announced');
    const at = slot * vectorBytes;
    const word = at / 4;
    this.#words[word] = address % twoTo32;
    this.#words[word + 1] = Math.floor(address / twoTo32);
    this.#words[word + 2] = length;
    pwritev2.async(fd, this.#mapping.address + at, 1, offset, rwFlag.dataSync, (error, result) => {
      const outcome = asyncResult(error, result);
      this.#free.push(slot);
      answered(outcome);
    });
  }

  close(): void {
    this.#mapping.unmap();
  }
}

function asyncResult(error: Error | null, result: number): number {
  // Only a signature that does not fit the call.
  if (error !== null) throw new Error('a function of libc could not be called', { cause: error });
  return result < 0 ? -lastErrno() : result;
}

export interface DirectAlignment {
  readonly memoryBytes: number;
  /** 0 where the file cannot be read directly. */
  readonly offsetBytes: number;
}

/** What O_DIRECT needs of this file, or undefined where the kernel does not say (before 6.1, or the file system). */
export function directAlignment(fd: number): DirectAlignment | undefined {
  const result = new Uint8Array(statxBytes);
  if (statx(fd, '', AT_EMPTY_PATH, STATX_DIOALIGN, result) !== 0) return undefined;
  const fields = new DataView(result.buffer);
  if ((fields.getUint32(statxMaskOffset, true) & STATX_DIOALIGN) === 0) return undefined;
  return {
    memoryBytes: fields.getUint32(statxDirectMemoryAlignOffset, true),
    offsetBytes: fields.getUint32(statxDirectOffsetAlignOffset, true),
  };
}
