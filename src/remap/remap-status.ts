import type { MetadataStatus } from '../metadata/metadata-store.ts';
import { policyRecord } from './policies.ts';
import type { RemapCore } from './remap-core.ts';
import type { RemapCounters } from './remap-counters.ts';
import type { MainCacheUse } from './request/main-cache.ts';
import { type SpareState, spareStateOf, spareUsedPercent } from './spare-use.ts';

/**
 * The worst thing that lasts.
 *
 * - `metadata-failed`     records cannot be stored; writes are refused
 * - `main-failed`         main does not answer; nothing is remapped
 * - `main-writes-failed`  main can be read and not written; nothing is remapped
 * - `spare-failed`        the spare does not answer
 * - `spare-full`          new bad sectors cannot be saved
 */
export type RemapState =
  | 'ok'
  | 'spare-full'
  | 'spare-failed'
  | 'main-writes-failed'
  | 'main-failed'
  | 'metadata-failed';

/** Everything `status` shows, plain data. Sectors are 512 bytes. */
export interface RemapStatus {
  readonly state: RemapState;
  readonly granuleBytes: number;
  readonly remappedGranules: number;
  readonly remappedSectors: number;
  readonly unreadableSectors: number;
  /** R13: unreadable on main and never written: they read as zeros, and are not among the unreadable ones. */
  readonly freshZeroSectors: number;
  readonly goneSectors: number;
  readonly slotsTotal: number;
  readonly slotsUsed: number;
  readonly slotsFree: number;
  readonly slotsRetired: number;
  /** R31: the last free slots, which only writes of clients may take. */
  readonly slotsReserved: number;
  readonly spareState: SpareState;
  /** Slots that are used or retired, of all. */
  readonly spareUsedPercent: number;
  /**
   * R24: `path` when what is written to a slot is read back, `off` when the policy or a buffered file makes that pointless.
   * `media` would be a read that passes the drive's own cache: the kernel has none for a block device.
   */
  readonly verify: 'path' | 'off';
  /** R13: regions of main that nobody wrote to since `create --fresh`; 0 without it. */
  readonly freshRegions: number;
  /** R8: what main's own volatile cache means for writes. */
  readonly mainCache: MainCacheUse;
  readonly requestsInFlight: number;
  /** Granules that the salvager has still to decide (R18). */
  readonly salvageWaiting: number;
  /** By the names of `policy`. */
  readonly policies: Readonly<Record<string, string>>;
  readonly counters: Readonly<RemapCounters>;
  readonly metadata: MetadataStatus;
}

export function statusOf(core: RemapCore, metadata: MetadataStatus, requestsInFlight: number): RemapStatus {
  const totals = core.table.totals();
  const { granuleBytes } = core.parts;
  const { slots } = core;
  return {
    state: stateOf(core),
    granuleBytes,
    remappedGranules: totals.remappedGranules,
    remappedSectors: totals.heldSectors,
    unreadableSectors: totals.unreadableSectors,
    freshZeroSectors: totals.freshZeroSectors,
    goneSectors: totals.goneSectors,
    slotsTotal: slots.usableSlots,
    slotsUsed: slots.usedSlots,
    slotsFree: slots.freeSlots,
    slotsRetired: slots.retiredSlots,
    slotsReserved: slots.reserveSlots,
    spareState: spareStateOf(core),
    spareUsedPercent: spareUsedPercent(slots.usableSlots, slots.freeSlots),
    verify: core.verifiesSlots ? 'path' : 'off',
    freshRegions: core.freshRegions.regionCount - core.freshRegions.endedCount,
    mainCache: core.mainCache.use(core.policies.mainCache),
    requestsInFlight,
    salvageWaiting: core.salvager.waiting,
    policies: policyRecord(core.policies),
    counters: { ...core.counters },
    metadata,
  };
}

/** What `dmsetup status` prints behind the devices: `STATE REMAPPED/SLOTS lost SECTORS replicas VALID/TOTAL`. */
export function statusWords(status: RemapStatus): string {
  const lost = status.unreadableSectors + status.goneSectors;
  const { replicasInSync, replicasTotal } = status.metadata;
  return (
    `${status.state} ${status.remappedGranules}/${status.slotsTotal} ` +
    `lost ${lost} replicas ${replicasInSync}/${replicasTotal}`
  );
}

/** Cheap: some flags. */
export function stateOf(core: RemapCore): RemapState {
  const { metadataPath, paths, slots } = core;
  if (metadataPath.failed) return 'metadata-failed';
  if (paths.mainReads.failed) return 'main-failed';
  if (paths.mainWrites.failed) return 'main-writes-failed';
  if (paths.sparesAway.length > 0) return 'spare-failed';
  return slots.freeSlots === 0 ? 'spare-full' : 'ok';
}
