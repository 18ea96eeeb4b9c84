import { arenaPieceBytes } from '../block/buffer-arena.ts';
import type { PoolMember, RequestMemory } from './request-memory.ts';

/** Memory is old from the second tick on, 1 to 2 s after it was taken. */
const oldTicks = 2;

/** What one connection has of the pool, by age. `RequestMemory` says how much that may be (R36). */
export class MemoryShare implements PoolMember {
  readonly #memory: RequestMemory;
  #heldBytes = 0;
  /** Of that, what was taken since the last tick, and between the last two; the rest is old. */
  #newBytes = 0;
  #recentBytes = 0;
  #closed = false;
  /** The tick at which the last piece was taken: it goes with the piece to `release`. */
  takenAt = 0;

  constructor(memory: RequestMemory) {
    this.#memory = memory;
    memory.join(this);
  }

  /** Bytes of pieces that are old. */
  get oldBytes(): number {
    return this.#heldBytes - this.#newBytes - this.#recentBytes;
  }

  /** Whether this connection has nothing: one piece of any size is then its due, when the common part has it. */
  get isEmpty(): boolean {
    return this.#heldBytes === 0;
  }

  /** Bytes that a piece for `length` bytes would take of the common part: what is beyond the connection's own. */
  commonBytesFor(length: number): number {
    return this.#commonBytes(this.#heldBytes + arenaPieceBytes(length)) - this.#commonBytes(this.#heldBytes);
  }

  /** Whether the rules of the pool give this connection a piece for `length` bytes now, if there is one. */
  mayTake(length: number): boolean {
    const memory = this.#memory;
    const more = this.commonBytesFor(length);
    if (more === 0) return true;
    const left = memory.commonBytes - memory.commonUsedBytes - more;
    // One piece is half of the pool at most: no more is advertised.
    if (this.#heldBytes === 0) return left >= 0;
    if (memory.oldBytes > memory.halfBytes && this.oldBytes > 0) return false;
    return this.#commonBytes(this.#heldBytes) + more <= left;
  }

  /** A piece of `length` bytes; undefined when there is none for this connection now. */
  take(length: number): Uint8Array | undefined {
    const piece = this.mayTake(length) ? this.#memory.take(length) : undefined;
    if (piece === undefined) return undefined;
    const bytes = arenaPieceBytes(length);
    const common = this.commonBytesFor(length);
    this.#heldBytes += bytes;
    this.#newBytes += bytes;
    this.takenAt = this.#memory.tick;
    this.#memory.charge(bytes, common);
    return piece;
  }

  /** As `take`, waiting; one at a time. Undefined after `stopWaiting`. */
  whenFree(length: number): Promise<Uint8Array | undefined> {
    return this.#memory.whenFree(this, length);
  }

  /** Who waits in `whenFree` is told that there is nothing. */
  stopWaiting(): void {
    this.#memory.stopWaiting(this);
  }

  /** Gives back a whole piece that was taken at tick `takenAt`. */
  release(piece: Uint8Array, takenAt: number): void {
    const bytes = arenaPieceBytes(piece.length);
    const ageTicks = this.#memory.tick - takenAt;
    const common = this.#commonBytes(this.#heldBytes) - this.#commonBytes(this.#heldBytes - bytes);
    this.#heldBytes -= bytes;
    if (ageTicks === 0) this.#newBytes -= bytes;
    else if (ageTicks < oldTicks) this.#recentBytes -= bytes;
    else this.#memory.oldBytes -= bytes;
    this.#memory.arena.release(piece);
    this.#memory.discharge(bytes, common);
    if (this.#closed) this.close();
  }

  /** As `release`, but what somebody below still has is ours, and grows old, until they have given it back. */
  releaseWhenUnshared(piece: Uint8Array, takenAt: number): void {
    if (this.#memory.arena.isShared(piece)) this.#memory.lend(this, piece, takenAt);
    else this.release(piece, takenAt);
  }

  /** The connection is over. What is still lent counts as old until it has come back. */
  close(): void {
    this.#closed = true;
    if (this.#heldBytes === 0) this.#memory.leave(this);
  }

  #commonBytes(heldBytes: number): number {
    return Math.max(0, heldBytes - this.#memory.ownBytes);
  }

  /** For the pool, once a tick: bytes that are old from now on. */
  onTick(): number {
    this.#recentBytes = this.#newBytes;
    this.#newBytes = 0;
    return this.oldBytes;
  }
}
