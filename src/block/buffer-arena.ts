import { assert } from './assert.ts';

/** Whose share of the memory a piece comes from. Clients can never take what a remap or its record needs (I14). */
export type ArenaReserve = 'client' | 'remap' | 'metadata';

/**
 * One bounded, page-aligned memory for all I/O. Pieces are contiguous, start on a page, and are counted by owners:
 * `take` makes one owner, `hold` one more, the last `release` frees the piece.
 */
export interface BufferArena {
  /** The whole memory; an engine that registered it knows the address of each piece by its `byteOffset`. */
  readonly memory: ArrayBuffer;
  /** A piece of `length` bytes, contents undefined; undefined when there is none now. */
  take(length: number, reserve: ArenaReserve): Uint8Array | undefined;
  /** As `take`, waiting first come, first served. Rejects never; a `length` above `largestPiece` is a bug. */
  whenFree(length: number, reserve: ArenaReserve): Promise<Uint8Array>;
  /** Bytes of the largest piece that this reserve can ever give. */
  largestPiece(reserve: ArenaReserve): number;
  /** Bytes of this reserve that are not given out now, in whole pages; not always in one piece. */
  freeBytes(reserve: ArenaReserve): number;
  /** One more owner of a piece, named by any view inside it: a layer may pass on a part of what it was lent. */
  hold(buffer: Uint8Array): void;
  /** True while somebody else owns this piece too, such as an engine whose kernel has not answered (I27). */
  isShared(buffer: Uint8Array): boolean;
  /** One owner less; by any view inside the piece. */
  release(buffer: Uint8Array): void;
  /** True for a view that starts a piece or lies inside this memory. */
  contains(buffer: Uint8Array): boolean;
  /** Bytes given out, in whole pieces. */
  readonly usedBytes: number;
}

/** Pieces are powers of two of at least one page: O_DIRECT needs no more, the kernel pins whole pages anyway. */
export const arenaPageBytes = 4096;

/** Bytes of the piece that `length` bytes are given in. */
export function arenaPieceBytes(length: number): number {
  return arenaPageBytes << pieceOrder(length);
}

/** log2 of the pages of a piece. */
function pieceOrder(length: number): number {
  const pages = Math.ceil(length / arenaPageBytes);
  return pages <= 1 ? 0 : 32 - Math.clz32(pages - 1);
}

/** Pages of a piece count up to 2^31: far above any memory that is locked for I/O. */
const pieceOrderMax = 30;

/** Owners are counted in 16 bits: more than this at once is a loop that forgot to release. */
const ownersMax = 65_535;

interface Waiter {
  readonly length: number;
  readonly resolve: (buffer: Uint8Array) => void;
}

const noPage = -1;

/**
 * A buddy allocator over one region of the memory: constant-bounded work, no fragmentation below a page. Free pieces of
 * one size are a linked list threaded through the pages; what was freed last is given out first, since the processor
 * still has it in its cache. Pages count from the region's start here.
 */
class Region {
  readonly firstPage: number;
  freePages: number;
  readonly #pageCount: number;
  readonly #orderMax: number;
  /** First free piece of each order (log2 pages), or `noPage`. */
  readonly #heads: Int32Array;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  /** Order of the free piece that starts at a page, or -1 where none starts. */
  readonly #freeOrders: Int8Array;
  readonly waiters: Waiter[] = [];

  constructor(firstPage: number, pageCount: number) {
    this.firstPage = firstPage;
    this.#pageCount = pageCount;
    this.freePages = pageCount;
    this.#orderMax = Math.max(0, 31 - Math.clz32(Math.max(1, pageCount)));
    this.#heads = new Int32Array(this.#orderMax + 1).fill(noPage);
    this.#next = new Int32Array(pageCount);
    this.#previous = new Int32Array(pageCount);
    this.#freeOrders = new Int8Array(pageCount).fill(-1);
    // Greedy from the left: a region need not be a power of two.
    let page = 0;
    for (let order = this.#orderMax; order >= 0; order -= 1) {
      if (pageCount - page < 1 << order) continue;
      this.#push(page, order);
      page += 1 << order;
    }
  }

  get largestPages(): number {
    return this.#pageCount === 0 ? 0 : 1 << this.#orderMax;
  }

  owns(page: number): boolean {
    return page >= this.firstPage && page < this.firstPage + this.#pageCount;
  }

  /** Absolute first page of a piece of 2^order pages, or -1. */
  allocate(order: number): number {
    let have = order;
    while (have <= this.#orderMax && this.#heads[have] === noPage) have += 1;
    if (have > this.#orderMax) return -1;
    const page = this.#heads[have]!;
    this.#remove(page, have);
    this.freePages -= 1 << order;
    while (have > order) {
      have -= 1;
      this.#push(page + (1 << have), have);
    }
    return page + this.firstPage;
  }

  release(absolutePage: number, order: number): void {
    let page = absolutePage - this.firstPage;
    let at = order;
    this.freePages += 1 << order;
    while (at < this.#orderMax) {
      const buddy = page ^ (1 << at);
      // Behind the end there is no page, and no order.
      if (this.#freeOrders[buddy] !== at) break;
      this.#remove(buddy, at);
      page = Math.min(page, buddy);
      at += 1;
    }
    this.#push(page, at);
  }

  #push(page: number, order: number): void {
    const head = this.#heads[order]!;
    this.#next[page] = head;
    this.#previous[page] = noPage;
    if (head !== noPage) this.#previous[head] = page;
    this.#heads[order] = page;
    this.#freeOrders[page] = order;
  }

  #remove(page: number, order: number): void {
    const next = this.#next[page]!;
    const previous = this.#previous[page]!;
    if (previous === noPage) this.#heads[order] = next;
    else this.#next[previous] = next;
    if (next !== noPage) this.#previous[next] = previous;
    this.#freeOrders[page] = -1;
  }
}

export interface ArenaOptions {
  /** Bytes kept for remaps, whole pages. */
  readonly remapBytes: number;
  /** Bytes kept for metadata, whole pages. */
  readonly metadataBytes: number;
  /** Fill released pieces with 0xDB, so that a use after release shows in compared bytes. */
  readonly poison?: boolean;
}

/** The arena over memory that somebody else mapped; that owner unmaps it after `usedBytes` is 0. */
export class PagedArena implements BufferArena {
  readonly memory: ArrayBuffer;
  readonly #regions: Readonly<Record<ArenaReserve, Region>>;
  /** Owners of the piece that starts at a page; 0 where none starts. */
  readonly #owners: Uint16Array;
  readonly #orders: Uint8Array;
  readonly #poison: boolean;
  #usedPages = 0;

  constructor(memory: ArrayBuffer, options: ArenaOptions) {
    const pages = Math.floor(memory.byteLength / arenaPageBytes);
    const remapPages = Math.ceil(options.remapBytes / arenaPageBytes);
    const metadataPages = Math.ceil(options.metadataBytes / arenaPageBytes);
    const clientPages = pages - remapPages - metadataPages;
    assert(clientPages > 0, 'PagedArena: the reserves leave nothing for clients');
    this.memory = memory;
    this.#regions = {
      client: new Region(0, clientPages),
      remap: new Region(clientPages, remapPages),
      metadata: new Region(clientPages + remapPages, metadataPages),
    };
    this.#owners = new Uint16Array(pages);
    this.#orders = new Uint8Array(pages);
    this.#poison = options.poison ?? false;
  }

  get usedBytes(): number {
    return this.#usedPages * arenaPageBytes;
  }

  largestPiece(reserve: ArenaReserve): number {
    return this.#regions[reserve].largestPages * arenaPageBytes;
  }

  freeBytes(reserve: ArenaReserve): number {
    return this.#regions[reserve].freePages * arenaPageBytes;
  }

  contains(buffer: Uint8Array): boolean {
    return buffer.buffer === this.memory;
  }

  take(length: number, reserve: ArenaReserve): Uint8Array | undefined {
    const region = this.#regions[reserve];
    // Whoever waits was here first.
    if (region.waiters.length > 0) return undefined;
    return this.#takeNow(length, region);
  }

  whenFree(length: number, reserve: ArenaReserve): Promise<Uint8Array> {
    const piece = this.take(length, reserve);
    if (piece !== undefined) return Promise.resolve(piece);
    assert(length <= this.largestPiece(reserve), `BufferArena: no piece of ${length} bytes can exist`);
    return new Promise((resolve) => {
      this.#regions[reserve].waiters.push({ length, resolve });
    });
  }

  hold(buffer: Uint8Array): void {
    const page = this.#pageOf(buffer);
    assert(this.#owners[page]! < ownersMax, 'BufferArena: the piece has too many owners');
    this.#owners[page]! += 1;
  }

  isShared(buffer: Uint8Array): boolean {
    return this.#owners[this.#pageOf(buffer)]! > 1;
  }

  release(buffer: Uint8Array): void {
    const page = this.#pageOf(buffer);
    const owners = this.#owners[page]! - 1;
    this.#owners[page] = owners;
    if (owners > 0) return;
    const order = this.#orders[page]!;
    if (this.#poison) new Uint8Array(this.memory, page * arenaPageBytes, arenaPageBytes << order).fill(0xdb);
    const region = this.#regionOf(page);
    region.release(page, order);
    this.#usedPages -= 1 << order;
    this.#serveWaiters(region);
  }

  #takeNow(length: number, region: Region): Uint8Array | undefined {
    assert(length > 0, 'BufferArena: a piece has at least one byte');
    const order = pieceOrder(length);
    const page = region.allocate(order);
    if (page < 0) return undefined;
    this.#owners[page] = 1;
    this.#orders[page] = order;
    this.#usedPages += 1 << order;
    return new Uint8Array(this.memory, page * arenaPageBytes, length);
  }

  #serveWaiters(region: Region): void {
    while (region.waiters.length > 0) {
      const waiter = region.waiters[0]!;
      const piece = this.#takeNow(waiter.length, region);
      if (piece === undefined) return;
      region.waiters.shift();
      waiter.resolve(piece);
    }
  }

  #regionOf(page: number): Region {
    const { client, remap, metadata } = this.#regions;
    if (client.owns(page)) return client;
    return remap.owns(page) ? remap : metadata;
  }

  #pageOf(buffer: Uint8Array): number {
    assert(buffer.buffer === this.memory, 'BufferArena: not a piece of this arena');
    const page = Math.floor(buffer.byteOffset / arenaPageBytes);
    if (this.#owners[page]! > 0) return page;
    return this.#startOfPieceAround(page);
  }

  /** Pieces are aligned to their size within their region, so at most one page of each order can start it. */
  #startOfPieceAround(page: number): number {
    const firstPage = this.#regionOf(page).firstPage;
    for (let order = 1; order <= pieceOrderMax; order += 1) {
      const start = firstPage + (((page - firstPage) >>> order) << order);
      if (this.#owners[start]! > 0 && this.#orders[start]! >= order) return start;
    }
    assert(false, 'BufferArena: the piece has no owner');
  }
}
