import { MemoryMapping } from './memory-mapping.ts';
import { bindLibc, lastErrno } from './system-call.ts';

const twoTo32 = 0x1_0000_0000;
/** sizeof(struct iovec) in words of 32 bits. */
const vectorWords = 4;

const read = bindLibc<(fd: number, address: number, length: number) => number>('read', 'intptr_t', [
  'int',
  'size_t',
  'size_t',
]);
const writev = bindLibc<(fd: number, vectors: number, count: number) => number>('writev', 'intptr_t', [
  'int',
  'size_t',
  'int',
]);

/** Bytes read from a descriptor that does not block, or the negative errno. */
export function readNow(fd: number, address: number, length: number): number {
  const result = read(fd, address, length);
  return result < 0 ? -lastErrno() : result;
}

/** Two pieces of memory written in one call to a descriptor that takes all or nothing, and at once. */
export class PairWriter {
  readonly #mapping: MemoryMapping = MemoryMapping.anonymous(4096);
  readonly #words: Uint32Array = new Uint32Array(this.#mapping.buffer, 0, 2 * vectorWords);

  /** Bytes written, or the negative errno. A second length of 0 is left out. */
  write(fd: number, address: number, length: number, secondAddress: number, secondLength: number): number {
    this.#set(0, address, length);
    this.#set(vectorWords, secondAddress, secondLength);
    const result = writev(fd, this.#mapping.address, secondLength === 0 ? 1 : 2);
    return result < 0 ? -lastErrno() : result;
  }

  close(): void {
    this.#mapping.unmap();
  }

  #set(at: number, address: number, length: number): void {
    this.#words[at] = address % twoTo32;
    this.#words[at + 1] = Math.floor(address / twoTo32);
    this.#words[at + 2] = length;
    this.#words[at + 3] = 0;
  }
}
