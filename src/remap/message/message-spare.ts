import { noSlot } from '../../metadata/mapping-state.ts';
import type { RemapCore } from '../remap-core.ts';
import { spareStateOf, spareUsedPercent } from '../spare-use.ts';
import { lookAtTable } from '../table/table-walk.ts';
import { granulesOf, wholeDevice } from './message-words.ts';

const secondsPerDay = 86_400;
/** Moves of the last days say how fast the spare fills. */
export const forecastDays = 7;

export interface SpareGrowth {
  /** Blocks on the spare that came there within `forecastDays`. */
  readonly recent: number;
  /** Over how many days they came: less than `forecastDays` while the first move is younger, but at least one. */
  readonly days: number;
}

/**
 * In how many days no slot is free when it goes on like that; undefined when nothing grows. A device whose first block moved
 * two days ago has had two days for all of them: seven would promise more time than there is. Less than one day says nothing
 * about the next one.
 */
export function daysUntilFull(freeSlots: number, { recent, days }: SpareGrowth): number | undefined {
  return recent === 0 ? undefined : Math.floor((freeSlots * days) / recent);
}

/** Slots of the spare, `NAME VALUE` a line, and in how many days it is full when it goes on like the last week. */
export async function slotsText(core: RemapCore): Promise<string> {
  const { slots } = core;
  const growth = await growthOf(core);
  const days = daysUntilFull(slots.freeSlots, growth);
  return [
    `state ${spareStateOf(core)}`,
    `total ${slots.usableSlots}`,
    `used ${slots.usedSlots}`,
    `free ${slots.freeSlots}`,
    `retired ${slots.retiredSlots}`,
    `used-percent ${spareUsedPercent(slots.usableSlots, slots.freeSlots)}`,
    `reserve ${slots.reserveSlots}`,
    `granule-bytes ${core.parts.granuleBytes}`,
    `used-last-${forecastDays}-days ${growth.recent}`,
    `full-in-days ${days ?? 'none'}`,
  ].join('\n');
}

async function growthOf(core: RemapCore): Promise<SpareGrowth> {
  const now = core.parts.clock.unixMs() / 1000;
  const since = now - forecastDays * secondsPerDay;
  let recent = 0;
  let first = now;
  await lookAtTable(core, granulesOf(core, wholeDevice(core)), (state) => {
    if (state.slot === noSlot) return 'go-on';
    if (state.unixSeconds >= since) recent += 1;
    first = Math.min(first, state.unixSeconds);
    return 'go-on';
  });
  return { recent, days: Math.min(forecastDays, Math.max(1, (now - first) / secondsPerDay)) };
}
