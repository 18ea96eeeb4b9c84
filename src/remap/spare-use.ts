import type { SparePlace } from './path/device-paths.ts';
import type { RemapCore } from './remap-core.ts';
import type { SpareUnit } from './spare/spare-unit.ts';

/**
 * - `available`  no slot is used
 * - `in-use`     some are
 * - `full`       none is free: new bad sectors cannot be saved
 * - `failed`     it does not answer, or does not keep records
 */
export type SpareState = 'available' | 'in-use' | 'full' | 'failed';

/** Percent of the slots that are not free any more; at each of them people are warned. Ascending. */
export const spareWarnPercents = [80, 90] as const;

/** Cheap: some flags and counts. */
export function spareStateOf(core: RemapCore): SpareState {
  const { slots } = core;
  if (core.paths.spare.failed || core.metadataPath.failed) return 'failed';
  if (slots.freeSlots === 0) return 'full';
  return slots.usedSlots === 0 ? 'available' : 'in-use';
}

/** One of several spares. */
export interface SpareUse {
  readonly place: SparePlace;
  /** `leaving`: its slots are on their way to the others. */
  readonly state: SpareState | 'leaving';
  readonly slotsTotal: number;
  readonly slotsUsed: number;
  readonly slotsFree: number;
  readonly slotsRetired: number;
}

/** The home first. */
export function spareUsesOf(core: RemapCore): readonly SpareUse[] {
  return core.spares.all.map((unit) => ({
    place: unit.place,
    state: unit.leaving ? 'leaving' : unitState(core, unit),
    slotsTotal: unit.allocator.usableSlots,
    slotsUsed: unit.allocator.usedSlots,
    slotsFree: unit.allocator.freeSlots,
    slotsRetired: unit.allocator.retiredSlots,
  }));
}

function unitState(core: RemapCore, { place, allocator }: SpareUnit): SpareState {
  const isHome = place === core.spares.home.place;
  if (core.paths.of(place, 'read').failed || (isHome && core.metadataPath.failed)) return 'failed';
  if (allocator.freeSlots === 0) return 'full';
  return allocator.usedSlots === 0 ? 'available' : 'in-use';
}

/** Used and retired slots of all, whole percent, rounded down; a spare without slots is full. */
export function spareUsedPercent(total: number, free: number): number {
  return total === 0 ? 100 : Math.floor((100 * (total - free)) / total);
}

/** The highest of `spareWarnPercents` that is reached, 0 for none. */
export function spareWarnPercent(usedPercent: number): number {
  return Math.max(0, ...spareWarnPercents.filter((percent) => usedPercent >= percent));
}
