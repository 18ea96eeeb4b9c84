import { assert } from '../../block/assert.ts';

/** A run of slots that follow each other on the spare. */
export interface SlotRun {
  readonly slot: number;
  readonly slotCount: number;
}

/** Client writes may take the last slots; salvage and manual remaps may not (R31). */
export const reserveSlotsMin = 64;
export const reserveShare = 0.01;

/** A spare has so many regions: what is wrong in two of them has more to do with the spare than with its slots. */
const regions = 8;

/**
 * Which slots of the spare are free: derived on open from reserved ranges, mappings and retired slots, never stored (M9,
 * I16). One bit a slot, set when it must not be given out. Allocation goes round the spare, so that a freed slot is not
 * taken again at once.
 */
export class SlotAllocator {
  readonly #taken: Uint32Array;
  /** Also those that are reserved. */
  readonly slotCount: number;
  #free: number;
  #used = 0;
  #retired = 0;
  #next = 0;
  /** Slots that were ever usable: neither metadata nor past the end. */
  readonly usableSlots: number;
  readonly reserveSlots: number;

  /** `reserved` are runs of slots that metadata occupies, ascending or not, overlapping or not. */
  constructor(slotCount: number, reserved: readonly SlotRun[]) {
    this.slotCount = slotCount;
    this.#taken = new Uint32Array(Math.ceil(slotCount / 32));
    this.#free = slotCount;
    for (const run of reserved) {
      for (let slot = run.slot; slot < Math.min(slotCount, run.slot + run.slotCount); slot += 1) {
        if (!this.#isTaken(slot)) this.#take(slot);
      }
    }
    this.usableSlots = this.#free;
    this.reserveSlots = Math.min(
      Math.floor(this.#free / 2),
      Math.max(reserveSlotsMin, Math.ceil(this.#free * reserveShare)),
    );
  }

  get freeSlots(): number {
    return this.#free;
  }

  get usedSlots(): number {
    return this.#used;
  }

  get retiredSlots(): number {
    return this.#retired;
  }

  /**
   * At least one and at most `wanted` free slots in a row; undefined when there is none for this purpose.
   * `keepReserve`: leave the reserve to client writes.
   */
  allocate(wanted: number, keepReserve: boolean): SlotRun | undefined {
    const allowed = Math.min(wanted, keepReserve ? this.#free - this.reserveSlots : this.#free);
    if (allowed <= 0) return undefined;
    const first = this.#nextFree();
    let slotCount = 0;
    while (slotCount < allowed && first + slotCount < this.slotCount && !this.#isTaken(first + slotCount)) {
      this.#take(first + slotCount);
      slotCount += 1;
    }
    this.#used += slotCount;
    this.#next = first + slotCount;
    return { slot: first, slotCount };
  }

  /** The region of a slot, from 0. */
  regionOf(slot: number): number {
    return Math.floor((slot * regions) / this.slotCount);
  }

  /** The next slot given out is in another region than the last one, if there is a free one. */
  leaveRegion(): void {
    const next = this.regionOf(Math.max(0, this.#next - 1)) + 1;
    this.#next = Math.ceil(((next % regions) * this.slotCount) / regions);
  }

  /** Takes slots that the stored table uses, all or none. One used twice, or metadata's, is damage the caller refuses. */
  claim(slot: number, slotCount: number): boolean {
    if (slot < 0 || slot + slotCount > this.slotCount) return false;
    for (let at = slot; at < slot + slotCount; at += 1) if (this.#isTaken(at)) return false;
    for (let at = slot; at < slot + slotCount; at += 1) this.#take(at);
    this.#used += slotCount;
    return true;
  }

  /** Gives a used slot back. The record that freed it must be durable first (R26). */
  free(slot: number): void {
    assert(this.#isTaken(slot), 'SlotAllocator: freed a free slot');
    const word = slot >>> 5;
    this.#taken[word]! &= ~(1 << (slot & 31));
    this.#free += 1;
    this.#used -= 1;
  }

  /** A used slot is never given out again. */
  retire(slot: number): void {
    assert(this.#isTaken(slot), 'SlotAllocator: retired a free slot');
    this.#used -= 1;
    this.#retired += 1;
  }

  /** A retired slot is free again: it is on another disk now. */
  revive(slot: number): void {
    this.#retired -= 1;
    this.#used += 1;
    this.free(slot);
  }

  /** The first free slot at or behind the last one given out, round the end; `allocate` has checked that there is one. */
  #nextFree(): number {
    let slot = this.#next;
    let rounds = 0;
    for (;;) {
      if (slot >= this.slotCount) {
        slot = 0;
        rounds += 1;
        assert(rounds <= 2, 'SlotAllocator: counted a free slot that is nowhere');
      }
      if ((slot & 31) === 0 && this.#taken[slot >>> 5] === 0xffff_ffff) slot += 32;
      else if (this.#isTaken(slot)) slot += 1;
      else return slot;
    }
  }

  #isTaken(slot: number): boolean {
    return (this.#taken[slot >>> 5]! & (1 << (slot & 31))) !== 0;
  }

  #take(slot: number): void {
    this.#taken[slot >>> 5]! |= 1 << (slot & 31);
    this.#free -= 1;
  }
}
