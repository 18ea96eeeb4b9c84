import { type BlockDevice, IoFlags } from '../block/block-device.ts';
import type { ArenaReserve, BufferArena } from '../block/buffer-arena.ts';
import type { Clock } from '../block/clock.ts';
import { asDeviceError } from '../block/device-error.ts';
import type { GranuleLocks } from './granule-locks.ts';

/** Granules asked in one round of probing, each from another eighth of the device (R16). */
const probeGranules = 8;
/** A device that did not work is not asked again for this long: every round to a dead one may cost as much as it waits. */
const failureValidMs = 1000;
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

/**
 * Decides what EIO is about (R15): when known good granules still work, the sector is bad; when none does, the path is,
 * and nothing may be remapped. A read is probed by reading, a write by writing a good granule's own bytes back.
 *
 * "Works" counts for failures seen before the round began, and for no later one: a path that dies half a second after a good
 * round would otherwise have its good sectors remapped, marked unreadable, or declared gone. "Fails" never does harm, so
 * it answers for a second (R16).
 */
export class PathProbe {
  readonly #parts: PathProbeParts;
  readonly #goodGranules: Float64Array = new Float64Array(probeGranules).fill(-1);
  readonly #granuleCount: number;
  /** When the device last failed a round, by direction. */
  readonly #failedMs = new Map<ProbeDirection, number>();
  readonly #running = new Map<ProbeDirection, Promise<boolean>>();
  /** The next round, not yet begun: whoever comes now may share it. */
  readonly #queued = new Map<ProbeDirection, Promise<boolean>>();
  #rounds = 0;

  constructor(parts: PathProbeParts) {
    this.#parts = parts;
    this.#granuleCount = Math.floor(parts.sizeBytes / parts.granuleBytes);
  }

  /** Rounds of probing so far. */
  get rounds(): number {
    return this.#rounds;
  }

  /** A request on this granule of the device has just succeeded. One division and one store: it is on the hot path. */
  noteGood(granule: number): void {
    if (granule >= this.#granuleCount) return;
    this.#goodGranules[Math.floor((granule * probeGranules) / this.#granuleCount)] = granule;
  }

  /**
   * True: the device works elsewhere, so a suspect error seen before the call is about its sector. Must not be called under
   * a lock. Writing is only for main: it takes main's granule locks.
   */
  deviceWorks(direction: ProbeDirection): Promise<boolean> {
    if (this.#failedLately(direction)) return Promise.resolve(false);
    const queued = this.#queued.get(direction);
    if (queued !== undefined) return queued;
    const running = this.#running.get(direction);
    if (running === undefined) return this.#startRound(direction);
    const next = this.#roundAfter(running, direction);
    this.#queued.set(direction, next);
    return next;
  }

  /**
   * Reads, for the holder of a lock, into `memory` of one granule, which stays the caller's until the answer. Such a round
   * takes nothing that another holder could have: it never waits for one of the others, which may wait for memory (I14).
   */
  worksUnderLock(memory: Uint8Array): Promise<boolean> {
    return this.#failedLately('read') ? Promise.resolve(false) : this.#judge('read', memory);
  }

  async #roundAfter(running: Promise<boolean>, direction: ProbeDirection): Promise<boolean> {
    await running;
    this.#queued.delete(direction);
    return this.#failedLately(direction) ? false : await this.#startRound(direction);
  }

  #startRound(direction: ProbeDirection): Promise<boolean> {
    const round = this.#judge(direction, undefined).finally(() => this.#running.delete(direction));
    this.#running.set(direction, round);
    return round;
  }

  async #judge(direction: ProbeDirection, memory: Uint8Array | undefined): Promise<boolean> {
    const works = await this.#askRound(direction, memory);
    if (!works) this.#failedMs.set(direction, this.#parts.clock.nowMs());
    return works;
  }

  #failedLately(direction: ProbeDirection): boolean {
    const failedMs = this.#failedMs.get(direction);
    return failedMs !== undefined && this.#parts.clock.nowMs() - failedMs < failureValidMs;
  }

  async #askRound(direction: ProbeDirection, memory: Uint8Array | undefined): Promise<boolean> {
    this.#rounds += 1;
    let asked = 0;
    for (const granule of this.#candidates()) {
      if (this.#parts.isSpecial(granule)) continue;
      asked += 1;
      const answer = await this.#ask(direction, granule, memory);
      if (answer === 'works') return true;
      // The kernel may still fill the caller's memory: nothing more is read into it (I27).
      if (answer === 'timed-out' && memory !== undefined) return false;
    }
    // Nothing left to ask means that every candidate was remapped or lost, which a dead path cannot have done.
    return asked === 0;
  }

  /** Granules that worked, then one of each eighth that has none, so that the first request ever can be judged too. */
  #candidates(): number[] {
    const known: number[] = [];
    const unknown: number[] = [];
    for (let eighth = 0; eighth < probeGranules; eighth += 1) {
      const good = this.#goodGranules[eighth]!;
      if (good >= 0) known.push(good);
      else unknown.push(Math.floor(((eighth + 0.5) * this.#granuleCount) / probeGranules));
    }
    return [...known, ...unknown];
  }

  async #ask(
    direction: ProbeDirection,
    granule: number,
    memory: Uint8Array | undefined,
  ): Promise<'works' | 'fails' | 'timed-out'> {
    const { device, granuleBytes, arena, locks } = this.#parts;
    const buffer = memory ?? (await arena.whenFree(granuleBytes, probeReserve));
    const lock = direction === 'write' ? await locks.acquire(granule, granule) : undefined;
    try {
      if (lock !== undefined && this.#parts.isSpecial(granule)) return 'fails';
      await device.read(buffer, granule * granuleBytes);
      // Without FUA nothing is owed either: the bytes are those that were there.
      const flags = device.capabilities.fua ? IoFlags.fua : IoFlags.none;
      if (direction === 'write') await device.write(buffer, granule * granuleBytes, flags);
      return 'works';
    } catch (error) {
      return asDeviceError(error).kind === 'timed-out' ? 'timed-out' : 'fails';
    } finally {
      if (lock !== undefined) locks.release(lock);
      if (memory === undefined) arena.release(buffer);
    }
  }
}
