import { assert } from '../block/assert.ts';

const pageBytes = 4096;

/**
 * The bytes of a disk, copied on write: a fork of megabytes costs one list of pages. A world forks its disks at every
 * operation, so this is what makes a power cut at each of them affordable.
 */
export class PagedImage {
  readonly sizeBytes: number;
  /** Pages may belong to several images; `#own` tells which may be changed here. */
  readonly #pages: Uint8Array[];
  readonly #own: Uint8Array;

  constructor(sizeBytes: number, pages?: Uint8Array[]) {
    this.sizeBytes = sizeBytes;
    const count = Math.ceil(sizeBytes / pageBytes);
    this.#pages = pages ?? new Array<Uint8Array>(count).fill(new Uint8Array(pageBytes));
    this.#own = new Uint8Array(count);
  }

  /** Another image with the same bytes. Neither sees what the other writes from now on. */
  fork(): PagedImage {
    this.#own.fill(0);
    return new PagedImage(this.sizeBytes, this.#pages.slice());
  }

  read(target: Uint8Array, offset: number): void {
    this.#check(offset, target.length);
    let at = 0;
    while (at < target.length) {
      const position = offset + at;
      const inPage = position % pageBytes;
      const length = Math.min(pageBytes - inPage, target.length - at);
      const page = this.#pages[(position - inPage) / pageBytes]!;
      target.set(length === pageBytes ? page : page.subarray(inPage, inPage + length), at);
      at += length;
    }
  }

  write(source: Uint8Array, offset: number): void {
    this.#check(offset, source.length);
    let at = 0;
    while (at < source.length) {
      const position = offset + at;
      const inPage = position % pageBytes;
      const length = Math.min(pageBytes - inPage, source.length - at);
      const part = length === source.length ? source : source.subarray(at, at + length);
      this.#ownPage((position - inPage) / pageBytes).set(part, inPage);
      at += length;
    }
  }

  /** All bytes: a copy. */
  toBytes(): Uint8Array {
    const bytes = new Uint8Array(this.sizeBytes);
    this.read(bytes, 0);
    return bytes;
  }

  #ownPage(index: number): Uint8Array {
    if (this.#own[index] === 0) {
      this.#pages[index] = this.#pages[index]!.slice();
      this.#own[index] = 1;
    }
    return this.#pages[index]!;
  }

  #check(offset: number, length: number): void {
    assert(offset >= 0 && offset + length <= this.sizeBytes, 'PagedImage: outside of the image');
  }
}
