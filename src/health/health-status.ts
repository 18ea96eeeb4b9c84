import type { Assessment } from './assess-health.ts';
import type { BadPlaces } from './bad-places.ts';
import type { Growth } from './event-ledger.ts';
import type { DiskRole } from './health-facts.ts';
import type { SmartCounts } from './smart-reading.ts';

/**
 * - `read`           counts are there
 * - `asleep`         the disk sleeps and was not woken; counts are of the last time
 * - `not-supported`  it has no SMART, or smartctl cannot reach it
 * - `no-answer`      nothing came before the deadline, or what came is not what smartctl says
 * - `not-installed`  there is no smartctl
 * - `not-asked`      nobody has asked yet
 */
export type SmartState = 'read' | 'asleep' | 'not-supported' | 'no-answer' | 'not-installed' | 'not-asked';

/** One whole disk under the device. */
export interface DiskHealth {
  readonly disk: DiskRole;
  /** `/dev/sda`. */
  readonly device: string;
  readonly smart: SmartState;
  /** Why there are no counts, one clause; empty when there are. */
  readonly detail: string;
  /** When the counts were read; 0 for never. */
  readonly readUnixSeconds: number;
  readonly model: string;
  readonly serial: string;
  readonly failing: boolean;
  readonly counters: SmartCounts;
  /** How much they grew within 7 days. */
  readonly grown: SmartCounts;
}

/** How a device and its disks are, and what to do. */
export interface HealthStatus extends Assessment {
  readonly growth: Growth;
  /** Null while nobody has looked. */
  readonly places: BadPlaces | null;
  readonly spareFullInDays: number | null;
  readonly disks: readonly DiskHealth[];
  /** When events and table were last looked at; 0 for never. */
  readonly lookedUnixSeconds: number;
  /** Why something is not known or not kept, one clause; empty while all is well. */
  readonly trouble: string;
}
