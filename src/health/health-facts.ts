import type { Growth } from './event-ledger.ts';
import type { SmartCounts, SmartReading } from './smart-reading.ts';

/** Which of the two disks under a device. */
export type DiskRole = 'main' | 'spare';

/** What is judged of the device itself. Each count only grows with trouble, but for slots that are free. Sectors are 512 bytes. */
export interface DeviceFacts {
  /** `RemapState`, or `without-spare`. */
  readonly state: string;
  readonly remappedSectors: number;
  readonly unreadableSectors: number;
  readonly freshZeroSectors: number;
  readonly goneSectors: number;
  readonly slotsTotal: number;
  readonly slotsFree: number;
  readonly slotsReserved: number;
  readonly slotsRetired: number;
  readonly spareUsedPercent: number;
  readonly replicasValid: number;
  readonly replicasTotal: number;
  /** Flat counts by name, as the device has them since it was opened. */
  readonly counters: Readonly<Record<string, number>>;
  readonly growth: Growth;
  /** Tenths of main with bad sectors; 0 where nobody has looked. */
  readonly tenthsWithErrors: number;
  /** When it goes on like the last week; null when nothing grows. */
  readonly spareFullInDays: number | null;
}

/** What is judged of one whole disk, by SMART. */
export interface DiskFacts {
  readonly role: DiskRole;
  /** `/dev/sda`. */
  readonly device: string;
  readonly reading: SmartReading;
  /** How much each count grew in the last days (`recentDays`). */
  readonly recent: SmartCounts;
}

export interface HealthFacts {
  readonly device: DeviceFacts;
  readonly disks: readonly DiskFacts[];
}
