import { type BlockDevice, IoFlags } from '../block/block-device.ts';
import type { ArenaReserve, BufferArena } from '../block/buffer-arena.ts';
import type { Clock } from '../block/clock.ts';
import { asDeviceError } from '../block/device-error.ts';
import type { FailureKind } from '../block/errno.ts';
import type { GranuleLock, GranuleLocks } from './granule-locks.ts';
import { untilDrained } from './zombie-requests.ts';

const probeReserve: ArenaReserve = 'remap';

export type ProbeDirection = 'read' | 'write';

export interface PathProbeParts {
  readonly device: BlockDevice;
  /** Bytes of the device that are ours: behind them nothing is read or written, as when main has grown (M21). */
  readonly sizeBytes: number;
  readonly granuleBytes: number;
  readonly arena: BufferArena;
  readonly clock: Clock;
  readonly locks: GranuleLocks;
  /** Granules whose bytes are not, or not only, on this device are no evidence. */
  readonly isSpecial: (granule: number) => boolean;
}

type ProbeAnswer = 'works' | FailureKind;

/** One round of probing: granules are asked one after the other until one works. */
export class ProbeRound {
  readonly #parts: PathProbeParts;
  readonly #direction: ProbeDirection;
  readonly #memory: Uint8Array | undefined;
  #abandoned = false;
  #someRead = false;

  /** `memory`, of one granule, is the caller's until the answer; without it the round takes its own. */
  constructor(parts: PathProbeParts, direction: ProbeDirection, memory: Uint8Array | undefined) {
    this.#parts = parts;
    this.#direction = direction;
    this.#memory = memory;
  }

  /** One of the granules could be read. */
  get someRead(): boolean {
    return this.#someRead;
  }

  /** Nobody waits for the answer any more. */
  abandon(): void {
    this.#abandoned = true;
  }

  /** True when one of the granules works, or when what they say shows that the device answers. */
  async ask(candidates: readonly number[]): Promise<boolean> {
    const usable = candidates.filter((granule) => !this.#parts.isSpecial(granule));
    // Nothing left to ask means that every candidate was remapped or lost, which a dead path cannot have done.
    let answers = usable.length === 0;
    for (const granule of this.#direction === 'write' ? this.#freeFirst(usable) : usable) {
      if (this.#abandoned) return false;
      const answer = await this.#askGranule(granule);
      if (answer === 'works') return true;
      // A disk that says which sector it cannot read has answered: this is no path that is dead. Firmware that has locked
      // itself says the same of every write (R16).
      if (answer === 'medium' && this.#direction === 'read') answers = true;
      // The kernel may still fill the caller's memory: nothing more is read into it (I27).
      if (answer === 'timed-out' && this.#memory !== undefined) return false;
    }
    return answers;
  }

  /** A granule on which a request hangs keeps its lock as long: the others are asked before it (R36). */
  #freeFirst(granules: readonly number[]): number[] {
    const { locks } = this.#parts;
    const busy = (granule: number): number => (locks.busy(granule, granule) ? 1 : 0);
    return granules.toSorted((a, b) => busy(a) - busy(b));
  }

  async #askGranule(granule: number): Promise<ProbeAnswer> {
    const { arena, granuleBytes, locks } = this.#parts;
    const buffer = this.#memory ?? (await arena.whenFree(granuleBytes, probeReserve));
    let lock: GranuleLock | undefined;
    try {
      if (this.#direction === 'read') return await this.#read(granule, buffer);
      lock = await locks.acquire(granule, granule);
      // Moved while we waited, or asked by nobody any more.
      if (this.#abandoned || this.#parts.isSpecial(granule)) return 'path';
      return await this.#writeBack(granule, buffer);
    } finally {
      if (lock !== undefined) locks.release(lock);
      if (this.#memory === undefined) arena.release(buffer);
    }
  }

  async #read(granule: number, buffer: Uint8Array): Promise<ProbeAnswer> {
    try {
      await this.#parts.device.read(buffer, granule * this.#parts.granuleBytes);
      this.#someRead = true;
      return 'works';
    } catch (error) {
      return asDeviceError(error).kind;
    }
  }

  async #writeBack(granule: number, buffer: Uint8Array): Promise<ProbeAnswer> {
    const { device, granuleBytes } = this.#parts;
    const read = await this.#read(granule, buffer);
    // A sector that cannot be read says nothing about writing.
    if (read !== 'works') return 'path';
    // Without FUA nothing is owed either: the bytes are those that were there.
    const flags = device.capabilities.fua ? IoFlags.fua : IoFlags.none;
    try {
      await device.write(buffer, granule * granuleBytes, flags);
      return 'works';
    } catch (error) {
      const { kind } = asDeviceError(error);
      // The lock is kept while the kernel may still write (R3).
      if (kind === 'timed-out') await untilDrained(device, granule * granuleBytes, granuleBytes);
      return kind;
    }
  }
}
