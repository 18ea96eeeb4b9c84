import type { ByteStream } from '../io/byte-stream.ts';

/**
 * Bytes received and not yet consumed, in one piece of arena memory.
 *
 *     | consumed |  start … end: waiting  |  room for the next receive |
 */
export class ReceiveBuffer {
  readonly bytes: Uint8Array;
  readonly #stream: ByteStream;
  start = 0;
  end = 0;

  constructor(stream: ByteStream, bytes: Uint8Array) {
    this.#stream = stream;
    this.bytes = bytes;
  }

  get waiting(): number {
    return this.end - this.start;
  }

  /** Puts in what somebody else received from the stream before us. */
  preload(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.end);
    this.end += bytes.length;
  }

  /** Receives at least one byte behind those that wait; false when the peer has closed. */
  async receive(): Promise<boolean> {
    // What waits is less than one small request, or nothing: moving it is cheaper than a ring of two views.
    if (this.start > 0) {
      if (this.start < this.end) this.bytes.copyWithin(0, this.start, this.end);
      this.end -= this.start;
      this.start = 0;
    }
    const count = await this.#stream.receive(this.bytes.subarray(this.end));
    this.end += count;
    return count > 0;
  }

  /** Consumes as many of the waiting bytes as `target` holds into it; their number. */
  moveTo(target: Uint8Array): number {
    const count = Math.min(target.length, this.waiting);
    target.set(this.bytes.subarray(this.start, this.start + count));
    this.start += count;
    return count;
  }

  /** Consumes `length` bytes without looking at them; false when the peer closed before their end. */
  async skip(length: number): Promise<boolean> {
    let left = length;
    for (;;) {
      const here = Math.min(left, this.waiting);
      this.start += here;
      left -= here;
      if (left === 0) return true;
      if (!(await this.receive())) return false;
    }
  }
}
