import { type ArenaOptions, PagedArena } from '../block/buffer-arena.ts';
import { MemoryMapping } from '../linux/memory-mapping.ts';

export interface ArenaMemoryOptions extends ArenaOptions {
  /** Size of the whole arena in bytes, whole pages. */
  readonly arenaBytes: number;
}

/**
 * The memory of all I/O and the arena over it. Resident only where it was touched; locked where the process may lock.
 * `process.memoryUsage()` does not count it: `arena.usedBytes` and `mapping.length` are its gauges.
 */
export class ArenaMemory {
  readonly arena: PagedArena;
  /** Errno of the refusal to lock it in memory, 0 when locked: RLIMIT_MEMLOCK is 8 MiB for a person. */
  readonly lockErrno: number;
  readonly #mapping: MemoryMapping;

  constructor(options: ArenaMemoryOptions) {
    this.#mapping = MemoryMapping.anonymous(options.arenaBytes);
    this.lockErrno = this.#mapping.lock();
    this.arena = new PagedArena(this.#mapping.buffer, options);
  }

  /** The kernel's name for the first byte; a piece is at `address + piece.byteOffset`. */
  get address(): number {
    return this.#mapping.address;
  }

  /**
   * Unmaps the memory. A piece that is still given out keeps it mapped until the process ends: its owner's next access
   * would be a SIGSEGV, and a few mebibytes at the end of a process are the lesser harm.
   */
  close(): void {
    if (this.arena.usedBytes === 0) this.#mapping.unmap();
  }
}
