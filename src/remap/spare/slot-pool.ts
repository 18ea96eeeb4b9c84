import { assert } from '../../block/assert.ts';
import type { SlotRun } from '../table/slot-allocator.ts';
import type { SpareUnit, SpareUnits } from './spare-unit.ts';

/** More regions than one spare has: those of two spares are never the same. */
const regionsOfUnit = 64;

/** The slots of all spares, counted from the beginning of their row. As `SlotAllocator`, which each of them has for its own. */
export class SlotPool {
  readonly #units: SpareUnits;
  /** True for a spare that is known to be away. */
  readonly #isAway: (unit: SpareUnit) => boolean;
  #last: SpareUnit | undefined;

  constructor(units: SpareUnits, isAway: (unit: SpareUnit) => boolean) {
    this.#units = units;
    this.#isAway = isAway;
  }

  /** Asked for each write where a full spare refuses them: no closure. */
  get freeSlots(): number {
    let free = 0;
    const { all } = this.#units;
    for (let index = 0; index < all.length; index += 1) {
      const { leaving, allocator } = all[index]!;
      if (!leaving) free += allocator.freeSlots;
    }
    return free;
  }

  get usedSlots(): number {
    return this.#sum(({ allocator }) => allocator.usedSlots);
  }

  get retiredSlots(): number {
    return this.#sum(({ allocator }) => allocator.retiredSlots);
  }

  /** Of a spare that is leaving only those that are used still. */
  get usableSlots(): number {
    return this.#sum(({ leaving, allocator }) =>
      leaving ? allocator.usedSlots + allocator.retiredSlots : allocator.usableSlots,
    );
  }

  /** R31. */
  get reserveSlots(): number {
    return this.#sum(({ leaving, allocator }) => (leaving ? 0 : allocator.reserveSlots));
  }

  /** There are free slots, but only on spares that are away. */
  get onlyAway(): boolean {
    const free = this.#units.all.filter(({ leaving, allocator }) => !leaving && allocator.freeSlots > 0);
    return free.length > 0 && free.every(this.#isAway);
  }

  /**
   * As `SlotAllocator.allocate`, on one spare: the first one with room that is not known to be away. The home is asked although
   * it is away: without it nothing can be recorded, so whoever comes has to wait for it.
   */
  allocate(wanted: number, keepReserve: boolean): SlotRun | undefined {
    const allowed = Math.min(wanted, this.freeSlots - (keepReserve ? this.reserveSlots : 0));
    if (allowed <= 0) return undefined;
    const unit = this.#units.all.find(
      (one) =>
        !one.leaving && one.allocator.freeSlots > 0 && (one === this.#units.home || !this.#isAway(one)),
    );
    const run = unit?.allocator.allocate(allowed, false);
    if (unit === undefined || run === undefined) return undefined;
    this.#last = unit;
    return { slot: unit.firstSlot + run.slot, slotCount: run.slotCount };
  }

  /** The region of a slot; no two spares share one. */
  regionOf(slot: number): number {
    const unit = this.#units.ofSlot(slot);
    const index = this.#units.all.indexOf(unit);
    return index * regionsOfUnit + unit.allocator.regionOf(slot - unit.firstSlot);
  }

  leaveRegion(): void {
    this.#last?.allocator.leaveRegion();
  }

  claim(slot: number, slotCount: number): boolean {
    const unit = this.#units.find(slot);
    return unit?.allocator.claim(slot - unit.firstSlot, slotCount) ?? false;
  }

  free(slot: number): void {
    this.#own(slot, (unit, own) => unit.allocator.free(own));
  }

  retire(slot: number): void {
    this.#own(slot, (unit, own) => unit.allocator.retire(own));
  }

  revive(slot: number): void {
    this.#own(slot, (unit, own) => unit.allocator.revive(own));
  }

  #own(slot: number, change: (unit: SpareUnit, own: number) => void): void {
    const unit = this.#units.ofSlot(slot);
    assert(unit.hasSlot(slot), 'a slot is on its spare');
    change(unit, slot - unit.firstSlot);
  }

  #sum(countOf: (unit: SpareUnit) => number): number {
    let sum = 0;
    for (const unit of this.#units.all) sum += countOf(unit);
    return sum;
  }
}
