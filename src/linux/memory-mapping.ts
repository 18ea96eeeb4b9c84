import koffi from 'koffi';
import { assert } from '../block/assert.ts';
import { bindLibc, checkedResult, lastErrno } from './system-call.ts';

/** linux/include/uapi/asm-generic/mman-common.h */
const PROT_READ = 0x1;
const PROT_WRITE = 0x2;
const MAP_SHARED = 0x01;
const MAP_PRIVATE = 0x02;
const MAP_ANONYMOUS = 0x20;
/** linux/include/uapi/asm-generic/mman.h: lock pages as they are touched, so that locking populates nothing. */
const MLOCK_ONFAULT = 0x01;
/** linux/include/uapi/asm-generic/mman-common.h */
const MADV_DONTFORK = 10;

const mmap = bindLibc<
  (address: number, length: number, protection: number, flags: number, fd: number, offset: number) => number
>('mmap', 'intptr_t', ['size_t', 'size_t', 'int', 'int', 'int', 'int64_t']);
const munmap = bindLibc<(address: number, length: number) => number>('munmap', 'int', ['size_t', 'size_t']);
const madvise = bindLibc<(address: number, length: number, advice: number) => number>('madvise', 'int', [
  'size_t',
  'size_t',
  'int',
]);
const mlock2 = bindLibc<(address: number, length: number, flags: number) => number>('mlock2', 'int', [
  'size_t',
  'size_t',
  'uint',
]);

/**
 * The one owner of one mapping. A view read after `unmap` kills the process with SIGSEGV, and a dropped view unmaps
 * nothing: whoever made the mapping unmaps it, after everybody else has let go of `buffer`.
 *
 * There is one `buffer` per mapping: two views of one address would be two ArrayBuffers that do not know each other.
 */
export class MemoryMapping {
  readonly address: number;
  readonly length: number;
  readonly #buffer: ArrayBuffer;
  #mapped = true;

  private constructor(address: number, length: number) {
    this.address = address;
    this.length = length;
    this.#buffer = koffi.view(BigInt(address), length);
  }

  /**
   * Zeroed private memory, resident only where it is touched: 64 MiB populated cost 119 MiB of RSS. A child process never gets
   * it: were it copied on write, the first write of ours behind a fork would move a page away from under an O_DIRECT request
   * (open(2), NOTES).
   */
  static anonymous(length: number): MemoryMapping {
    const flags = MAP_PRIVATE | MAP_ANONYMOUS;
    const address = checkedResult('mmap', mmap(0, length, PROT_READ | PROT_WRITE, flags, -1, 0));
    checkedResult('madvise', madvise(address, length, MADV_DONTFORK));
    return new MemoryMapping(address, length);
  }

  /** Memory shared with the kernel through a descriptor. */
  static ofDescriptor(fd: number, length: number, offset: number): MemoryMapping {
    return new MemoryMapping(
      checkedResult('mmap', mmap(0, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset)),
      length,
    );
  }

  get buffer(): ArrayBuffer {
    assert(this.#mapped, 'MemoryMapping: used after unmap');
    return this.#buffer;
  }

  get mapped(): boolean {
    return this.#mapped;
  }

  /**
   * Keeps the pages in memory once they are touched, so that I/O that frees memory never waits for memory.
   * Returns the errno of the refusal (RLIMIT_MEMLOCK is 8 MiB for a person), 0 when locked. Never throws.
   */
  lock(): number {
    return mlock2(this.address, this.length, MLOCK_ONFAULT) === 0 ? 0 : lastErrno();
  }

  /** Gives the memory back. The caller has dropped every view of it. Idempotent. */
  unmap(): void {
    if (!this.#mapped) return;
    this.#mapped = false;
    checkedResult('munmap', munmap(this.address, this.length));
  }
}
