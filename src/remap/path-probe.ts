import { type BlockDevice, IoFlags } from '../block/block-device.ts';
import type { ArenaReserve, BufferArena } from '../block/buffer-arena.ts';
import type { Clock } from '../block/clock.ts';
import { asDeviceError } from '../block/device-error.ts';
import type { GranuleLocks } from './granule-locks.ts';

/** Granules asked in one round of probing, each from another eighth of the device (R16). */
const probeGranules = 8;
/** One round answers for all who ask within this time (R16). */
const probeValidMs = 1000;
const probeReserve: ArenaReserve = 'remap';

export type ProbeDirection = 'read' | 'write';

export interface PathProbeParts {
  readonly device: BlockDevice;
  readonly granuleBytes: number;
  readonly arena: BufferArena;
  readonly clock: Clock;
  readonly locks: GranuleLocks;
  /** Granules whose bytes are not, or not only, on this device are no evidence. */
  readonly isSpecial: (granule: number) => boolean;
}

interface Verdict {
  readonly atMs: number;
  readonly answer: Promise<boolean>;
}

/**
 * Decides what EIO is about (R15): when known good granules still work, the sector is bad; when none does, the path is,
 * and nothing may be remapped. A read is probed by reading, a write by writing a good granule's own bytes back.
 */
export class PathProbe {
  readonly #parts: PathProbeParts;
  readonly #goodGranules: Float64Array = new Float64Array(probeGranules).fill(-1);
  readonly #granuleCount: number;
  readonly #verdicts = new Map<ProbeDirection, Verdict>();
  #rounds = 0;

  constructor(parts: PathProbeParts) {
    this.#parts = parts;
    this.#granuleCount = Math.floor(parts.device.geometry.sizeBytes / parts.granuleBytes);
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
   * True: the device works elsewhere, so a suspect error is about its sector. Must not be called under a lock. Writing is
   * only for main: it takes main's granule locks.
   */
  deviceWorks(direction: ProbeDirection): Promise<boolean> {
    const now = this.#parts.clock.nowMs();
    const last = this.#verdicts.get(direction);
    if (last !== undefined && now - last.atMs < probeValidMs) return last.answer;
    const answer = this.#askRound(direction);
    this.#verdicts.set(direction, { atMs: now, answer });
    return answer;
  }

  async #askRound(direction: ProbeDirection): Promise<boolean> {
    this.#rounds += 1;
    let asked = 0;
    for (const granule of this.#candidates()) {
      if (this.#parts.isSpecial(granule)) continue;
      asked += 1;
      if (await this.#ask(direction, granule)) return true;
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

  async #ask(direction: ProbeDirection, granule: number): Promise<boolean> {
    const { device, granuleBytes, arena, locks } = this.#parts;
    const buffer = await arena.whenFree(granuleBytes, probeReserve);
    const lock = direction === 'write' ? await locks.acquire(granule, granule) : undefined;
    try {
      if (lock !== undefined && this.#parts.isSpecial(granule)) return false;
      await device.read(buffer, granule * granuleBytes);
      if (direction === 'write') await device.write(buffer, granule * granuleBytes, IoFlags.fua);
      return true;
    } catch (error) {
      asDeviceError(error);
      return false;
    } finally {
      if (lock !== undefined) locks.release(lock);
      arena.release(buffer);
    }
  }
}
