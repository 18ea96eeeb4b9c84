import { healthOf } from '../../remap/message/health.ts';
import { changedPolicies } from '../../remap/policies.ts';
import { type RemapStatus, statusWords } from '../../remap/remap-status.ts';
import type { RemapSummary } from '../messages.ts';

/** The part of the remap target's state that crosses to the control plane. */
export function remapSummary(status: RemapStatus): RemapSummary {
  const health = healthOf(status);
  return {
    state: status.state,
    health: health.word,
    healthReasons: health.reasons,
    remappedGranules: status.remappedGranules,
    remappedSectors: status.remappedSectors,
    unreadableSectors: status.unreadableSectors,
    freshZeroSectors: status.freshZeroSectors,
    goneSectors: status.goneSectors,
    slotsTotal: status.slotsTotal,
    slotsUsed: status.slotsUsed,
    slotsFree: status.slotsFree,
    slotsRetired: status.slotsRetired,
    slotsReserved: status.slotsReserved,
    spareState: status.spareState,
    spareUsedPercent: status.spareUsedPercent,
    granuleBytes: status.granuleBytes,
    verify: status.verify,
    mainCache: status.mainCache,
    changedPolicies: changedPolicies(status.policies),
    replicasValid: status.metadata.replicasInSync,
    replicasTotal: status.metadata.replicasTotal,
    statusWords: statusWords(status),
    counters: { ...status.counters },
  };
}
