import type { BufferArena } from '../../block/buffer-arena.ts';

/** Bytes of zeros that are written at once, where main does not zero by itself. */
const zeroBytesMax = 64 * 1024;

/**
 * One piece of zeros for all requests that write them plainly: nobody changes a source, so they share it, and however many
 * of them hang they hold no more of the clients' memory than this (R36).
 */
export class ZeroMemory {
  readonly #arena: BufferArena;
  #users = 0;
  #zeros: Promise<Uint8Array> | undefined;

  constructor(arena: BufferArena) {
    this.#arena = arena;
  }

  /** Zeros, lent until `release`. Waits for memory as a client's write does: before anything else is held (I14). */
  take(): Promise<Uint8Array> {
    this.#users += 1;
    this.#zeros ??= this.#takePiece();
    return this.#zeros;
  }

  /** Once for each `take` that has resolved. */
  release(zeros: Uint8Array): void {
    this.#users -= 1;
    if (this.#users > 0) return;
    this.#zeros = undefined;
    this.#arena.release(zeros);
  }

  async #takePiece(): Promise<Uint8Array> {
    const bytes = Math.min(zeroBytesMax, this.#arena.largestPiece('client'));
    const zeros = await this.#arena.whenFree(bytes, 'client');
    return zeros.fill(0);
  }
}
