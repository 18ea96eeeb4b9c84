import { assert } from '../../block/assert.ts';
import { arenaPageBytes, arenaPieceBytes, type BufferArena } from '../../block/buffer-arena.ts';

/** Bytes of zeros that are written at once, where main does not zero by itself. */
const zeroBytesMax = 64 * 1024;

/**
 * One piece of zeros for all requests that write them plainly: nobody changes a source, so they share it, and however many
 * of them hang they hold no more memory than this (R36).
 */
export class ZeroMemory {
  readonly #arena: BufferArena;
  readonly #pieceBytes: number;
  #users = 0;
  #zeros: Promise<Uint8Array> | undefined;

  /** `moveBytes`: what a move takes, which zeros that main fails wait for with this piece in their hands: both fit, always (I14). */
  constructor(arena: BufferArena, moveBytes: number) {
    this.#arena = arena;
    const leftBytes = arena.freeBytes('remap') - arenaPieceBytes(moveBytes);
    this.#pieceBytes =
      leftBytes < arenaPageBytes ? 0 : Math.min(zeroBytesMax, 2 ** Math.floor(Math.log2(leftBytes)));
  }

  /**
   * Zeros, lent until `release`. Waits for memory before anything of the device is held (I14), and not for the clients': requests
   * to the same bytes may stand behind this one with all of that in their hands. Who has memory of moves waits for disks only.
   */
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
    assert(this.#pieceBytes > 0, 'ZeroMemory: the remap reserve has no room for zeros beside a move');
    const zeros = await this.#arena.whenFree(this.#pieceBytes, 'remap');
    return zeros.fill(0);
  }
}
