import { arenaPageBytes, type BufferArena } from '../block/buffer-arena.ts';
import type { Clock, ScheduledAction } from '../block/clock.ts';

/** What the pool asks of the share of a connection; `MemoryShare` is one. */
export interface PoolMember {
  readonly isEmpty: boolean;
  commonBytesFor(length: number): number;
  mayTake(length: number): boolean;
  take(length: number): Uint8Array | undefined;
  release(piece: Uint8Array, takenAt: number): void;
  releaseWhenUnshared(piece: Uint8Array, takenAt: number): void;
  /** Once a tick: bytes that are old from now on. */
  onTick(): number;
}

/** A connection that waits until the pool has a piece for it. */
interface Waiter {
  readonly share: PoolMember;
  readonly length: number;
  readonly resolve: (piece: Uint8Array | undefined) => void;
}

/** Memory of a request that was answered while somebody below still has it. */
interface LentPiece {
  readonly share: PoolMember;
  readonly piece: Uint8Array;
  readonly takenAt: number;
}

/** Ages are counted in ticks of this. */
const tickMs = 1_000;

/**
 * Who has waited longest for a piece that the pool does not have keeps others from taking it bit by bit: for 1 to 2 s,
 * longer than requests that do not hang, and again for 2 s in every 16. In between others pass him: what he lacks may hang.
 * However many wait so, it is 2 s in 16 for all of them.
 */
const precedenceTicks = 2;
const precedenceEveryTicks = 16;

/** Of the pool, what connections have of their own. */
const ownShare = 1 / 4;

/**
 * The pool: memory for the requests of all connections of a server, all of the arena's `client` reserve that is free when
 * it is made. R36, in bytes of pieces, whatever devices and clients do:
 *
 *     | own, an equal part for every connection that there may be: a quarter | common: the rest |
 *
 * - a connection's own part is there for it whatever the others do;
 * - one connection never has more than half of the pool, so what may become old of one never is more than half;
 * - of the common part a connection that has memory gets a piece only if it then has no more of it than is left free: n
 *   connections leave at least 1 / 2^n of it with that, and equal parts of 1 / (n + 1) if they fill it side by side;
 * - a connection that has none gets one piece of any size, as long as the common part has it;
 * - while old requests together hold more than half, which takes more than one connection, a connection that has an old
 *   one gets nothing; the others go on.
 *
 * A connection that gets nothing waits, with its socket, and holds up nobody. Old is whatever has had its memory for 1 to
 * 2 s: at the device, on the way to a client that does not take its reply, or answered by a deadline and still with the
 * kernel (I27). There is no timer and no time stamp per request: one tick a second while anybody has memory.
 */
export class RequestMemory {
  readonly arena: BufferArena;
  /** Bytes of the whole pool. */
  readonly poolBytes: number;
  readonly halfBytes: number;
  /** That are every connection's own. */
  readonly ownBytes: number;
  /** That are for all. */
  readonly commonBytes: number;
  /** Of that, what connections have beyond their own. */
  commonUsedBytes = 0;
  /** Bytes of the pieces of all connections. */
  usedBytes = 0;
  /** Of that, what was old at the last tick and has not been given back since. */
  oldBytes = 0;
  tick = 0;
  /** When somebody last began to take precedence. */
  #precedenceTick = Number.NEGATIVE_INFINITY;
  readonly #clock: Clock;
  readonly #shares = new Set<PoolMember>();
  readonly #waiters: Waiter[] = [];
  #lent: LentPiece[] = [];
  /** Somebody whose turn it is waits for a piece that the pool does not have. */
  #reserved = false;
  #timer: ScheduledAction | undefined;
  #closed = false;

  constructor(arena: BufferArena, clock: Clock, connectionsMax: number) {
    this.arena = arena;
    this.#clock = clock;
    this.poolBytes = arena.freeBytes('client');
    this.halfBytes = Math.floor(this.poolBytes / 2);
    const ownBytes = (ownShare * this.poolBytes) / connectionsMax;
    this.ownBytes = Math.floor(ownBytes / arenaPageBytes) * arenaPageBytes;
    this.commonBytes = this.poolBytes - connectionsMax * this.ownBytes;
  }

  /** For shares: one begins. */
  join(share: PoolMember): void {
    this.#shares.add(share);
  }

  /** For shares: one is over. */
  leave(share: PoolMember): void {
    this.#shares.delete(share);
  }

  /** Stops ticking; what is still lent is left to who has it. After the last share was closed. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    for (const { share, piece, takenAt } of this.#takeLent()) share.release(piece, takenAt);
  }

  /** For shares, whose connection may have `length` bytes: a piece, undefined when there is none for it now. */
  take(length: number): Uint8Array | undefined {
    return this.#reserved ? undefined : this.arena.take(length, 'client');
  }

  /** For shares: bytes of a piece were taken, `common` of them from the common part. */
  charge(bytes: number, common: number): void {
    this.usedBytes += bytes;
    this.commonUsedBytes += common;
    if (this.#timer === undefined) this.#scheduleTick();
  }

  /** For shares: bytes of a piece were given back. */
  discharge(bytes: number, common: number): void {
    this.usedBytes -= bytes;
    this.commonUsedBytes -= common;
    if (this.#waiters.length > 0) this.#serveWaiters();
  }

  /** For shares: gives `piece` back at the first tick at which nobody below has it. */
  lend(share: PoolMember, piece: Uint8Array, takenAt: number): void {
    if (this.#closed) share.release(piece, takenAt);
    else this.#lent.push({ share, piece, takenAt });
  }

  /** For shares: a piece when there is one and the share may have it; undefined when it stops waiting. */
  whenFree(share: PoolMember, length: number): Promise<Uint8Array | undefined> {
    return new Promise((resolve) => {
      this.#waiters.push({ share, length, resolve });
      this.#serveWaiters();
      // Whoever gives memory back may be no request of ours, and then only the tick looks.
      if (this.#timer === undefined) this.#scheduleTick();
    });
  }

  /** For shares. */
  stopWaiting(share: PoolMember): void {
    const at = this.#waiters.findIndex((waiter) => waiter.share === share);
    if (at < 0) return;
    const [waiter] = this.#waiters.splice(at, 1);
    waiter!.resolve(undefined);
    this.#serveWaiters();
  }

  /**
   * First come, first served, among those whose share allows it; at most one waiter a connection. At the first whose due is
   * a piece that does not exist it ends, while he takes precedence.
   */
  #serveWaiters(): void {
    this.#reserved = false;
    for (let at = 0; at < this.#waiters.length; ) {
      const waiter = this.#waiters[at]!;
      const piece = waiter.share.take(waiter.length);
      if (piece !== undefined) {
        this.#waiters.splice(at, 1);
        waiter.resolve(piece);
      } else if (this.#isDue(waiter) && this.#takesPrecedence()) {
        this.#reserved = true;
        return;
      } else {
        at += 1;
      }
    }
  }

  /** Also one that lacks common memory for its first piece: a large one would wait for ever beside many small ones. */
  #isDue({ share, length }: Waiter): boolean {
    if (share.mayTake(length)) return true;
    // What hangs is not waited for.
    return share.isEmpty && share.commonBytesFor(length) <= this.commonBytes - this.oldBytes;
  }

  #takesPrecedence(): boolean {
    if (this.tick - this.#precedenceTick >= precedenceEveryTicks) this.#precedenceTick = this.tick;
    return this.tick - this.#precedenceTick < precedenceTicks;
  }

  #scheduleTick(): void {
    this.#timer = this.#clock.schedule(tickMs, () => this.#onTick());
  }

  #onTick(): void {
    this.tick += 1;
    this.oldBytes = 0;
    for (const share of this.#shares) this.oldBytes += share.onTick();
    for (const { share, piece, takenAt } of this.#takeLent()) share.releaseWhenUnshared(piece, takenAt);
    this.#serveWaiters();
    // Until here the old timer stands, so that a piece given to a waiter starts no second one.
    this.#timer = undefined;
    if (this.usedBytes > 0 || this.#waiters.length > 0) this.#scheduleTick();
  }

  #takeLent(): readonly LentPiece[] {
    const lent = this.#lent;
    this.#lent = [];
    return lent;
  }
}
