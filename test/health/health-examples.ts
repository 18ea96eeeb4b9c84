import type { Growth } from '../../src/health/event-ledger.ts';
import type { DeviceFacts, DiskFacts, DiskRole } from '../../src/health/health-facts.ts';
import type { SmartCounts, SmartReading } from '../../src/health/smart-reading.ts';

export const noGrowth: Growth = {
  badSectorsLastDay: 0,
  badSectorsLastWeek: 0,
  badSectorsWeekBefore: 0,
  failedAgain: 0,
  slotsRetiredLastWeek: 0,
  mainPathLossesLastWeek: 0,
  sparePathLossesLastWeek: 0,
  stuckLastWeek: 0,
  slowBlocks: 0,
};

/** A device with which nothing is wrong. */
export const wellDevice: DeviceFacts = {
  state: 'ok',
  remappedSectors: 0,
  unreadableSectors: 0,
  freshZeroSectors: 0,
  goneSectors: 0,
  slotsTotal: 4096,
  slotsFree: 4096,
  slotsReserved: 64,
  slotsRetired: 0,
  spareUsedPercent: 0,
  replicasValid: 2,
  replicasTotal: 2,
  counters: {},
  growth: noGrowth,
  tenthsWithErrors: 0,
  spareFullInDays: null,
};

export const wellReading: SmartReading = {
  model: 'ST1000',
  serial: 'W123',
  unixSeconds: 1_700_000_000,
  failing: false,
  belowThreshold: false,
  hot: false,
  counters: {},
};

export function diskOf(
  role: DiskRole,
  counters: SmartCounts = {},
  recent: SmartCounts = {},
  more: Partial<SmartReading> = {},
): DiskFacts {
  return { role, device: '/dev/sdb', reading: { ...wellReading, ...more, counters }, recent };
}
