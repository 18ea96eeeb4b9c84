import { type BlockDevice, IoFlags } from '../../block/block-device.ts';
import type { BufferArena } from '../../block/buffer-arena.ts';
import type { Clock } from '../../block/clock.ts';
import { asDeviceError } from '../../block/device-error.ts';
import { type FailureKind, isGone } from '../../block/errno.ts';
import type { GranuleLocks } from '../order/granule-locks.ts';
import { untilDrained } from '../order/zombie-requests.ts';

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
  /** The device says that it has left: while its way is closed nobody but a probe may hear of that (R32). */
  readonly onGone: () => void;
}

type ProbeAnswer = 'works' | FailureKind;

/** One round of probing: granules are asked one after the other until one works. */
export class ProbeRound {
  readonly #parts: PathProbeParts;
  readonly #direction: ProbeDirection;
  #abandoned = false;
  #asking: number | undefined;
  #someRead = false;

  constructor(parts: PathProbeParts, direction: ProbeDirection) {
    this.#parts = parts;
    this.#direction = direction;
  }

  /** One of the granules could be read. */
  get someRead(): boolean {
    return this.#someRead;
  }

  /** The granule that gives no answer: behind `abandon`, or when its read had a deadline. */
  get hanging(): number | undefined {
    return this.#asking;
  }

  /** Nobody waits for the answer any more. */
  abandon(): void {
    this.#abandoned = true;
  }

  /**
   * True when one of the granules works, or when what they say shows that the device answers. `memory` of one granule is
   * the caller's until the answer.
   */
  async ask(candidates: readonly number[], memory: Uint8Array): Promise<boolean> {
    const usable = candidates.filter((granule) => !this.#parts.isSpecial(granule));
    // Nothing left to ask means that every candidate was remapped or lost, which a dead path cannot have done.
    let answers = usable.length === 0;
    for (const granule of this.#direction === 'write' ? this.#freeFirst(usable) : usable) {
      if (this.#abandoned) return false;
      this.#asking = granule;
      const answer = await this.#askGranule(granule, memory);
      if (answer === 'works') {
        this.#asking = undefined;
        return true;
      }
      // A disk that says which sector it cannot read has answered: this is no path that is dead. Firmware that has locked
      // itself says the same of every write (R16).
      if (answer === 'medium' && this.#direction === 'read') answers = true;
      // The kernel may still fill the caller's memory: nothing more is read into it (I27).
      if (answer === 'timed-out') return false;
      this.#asking = undefined;
    }
    return answers;
  }

  /** A granule on which a request hangs keeps its lock as long: the others are asked before it (R36). */
  #freeFirst(granules: readonly number[]): number[] {
    const { locks } = this.#parts;
    const busy = (granule: number): number => (locks.busy(granule, granule) ? 1 : 0);
    return granules.toSorted((a, b) => busy(a) - busy(b));
  }

  async #askGranule(granule: number, memory: Uint8Array): Promise<ProbeAnswer> {
    if (this.#direction === 'read') return await this.#read(granule, memory);
    const { locks } = this.#parts;
    const lock = await locks.acquire(granule, granule);
    try {
      // Moved while we waited, or asked by nobody any more.
      if (this.#abandoned || this.#parts.isSpecial(granule)) return 'path';
      return await this.#writeBack(granule, memory);
    } finally {
      locks.release(lock);
    }
  }

  async #read(granule: number, buffer: Uint8Array): Promise<ProbeAnswer> {
    try {
      await this.#parts.device.read(buffer, granule * this.#parts.granuleBytes);
      this.#someRead = true;
      return 'works';
    } catch (error) {
      return this.#kindOf(error);
    }
  }

  async #writeBack(granule: number, buffer: Uint8Array): Promise<ProbeAnswer> {
    const { device, granuleBytes } = this.#parts;
    const read = await this.#read(granule, buffer);
    // A sector that cannot be read says nothing about writing. What a late answer brings must not be written elsewhere (I27).
    if (read !== 'works') return read === 'timed-out' ? read : 'path';
    // Nobody counts a write any more: the device may be suspended by now, and its disks somebody else's (R30).
    if (this.#abandoned) return 'path';
    // Without FUA nothing is owed either: the bytes are those that were there.
    const flags = device.capabilities.fua ? IoFlags.fua : IoFlags.none;
    try {
      await device.write(buffer, granule * granuleBytes, flags);
      return 'works';
    } catch (error) {
      const kind = this.#kindOf(error);
      // The lock is kept while the kernel may still write (R3).
      if (kind === 'timed-out') await untilDrained(device, granule * granuleBytes, granuleBytes);
      return kind;
    }
  }

  #kindOf(error: unknown): FailureKind {
    const { kind, errno } = asDeviceError(error);
    if (isGone(errno)) this.#parts.onGone();
    return kind;
  }
}
