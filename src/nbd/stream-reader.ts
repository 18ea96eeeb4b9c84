import { assert } from '../block/assert.ts';
import type { ByteStream } from '../io/byte-stream.ts';

/**
 * Exact reads over a stream, for the parts of the protocol that are short and rare. Bytes that were received and not
 * asked for stay in `rest` for whoever takes over the stream.
 */
export class StreamReader {
  readonly #stream: ByteStream;
  readonly #buffer: Uint8Array;
  #start = 0;
  #end = 0;

  /** `bufferBytes` bounds a single `take`. */
  constructor(stream: ByteStream, bufferBytes: number) {
    this.#stream = stream;
    this.#buffer = new Uint8Array(bufferBytes);
  }

  /** Received and not yet taken. */
  get rest(): Uint8Array {
    return this.#buffer.subarray(this.#start, this.#end);
  }

  /** The next `length` bytes, valid until the next call; undefined when the peer closed before their end. */
  async take(length: number): Promise<Uint8Array | undefined> {
    assert(length <= this.#buffer.length, `StreamReader: ${length} bytes do not fit its buffer`);
    while (this.#end - this.#start < length) {
      if (!(await this.#receive())) return undefined;
    }
    this.#start += length;
    return this.#buffer.subarray(this.#start - length, this.#start);
  }

  /** Passes over `length` bytes of any number; false when the peer closed before their end. */
  async skip(length: number): Promise<boolean> {
    let left = length;
    for (;;) {
      const here = Math.min(left, this.#end - this.#start);
      this.#start += here;
      left -= here;
      if (left === 0) return true;
      if (!(await this.#receive())) return false;
    }
  }

  async #receive(): Promise<boolean> {
    this.#buffer.copyWithin(0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
    const count = await this.#stream.receive(this.#buffer.subarray(this.#end));
    this.#end += count;
    return count > 0;
  }
}
