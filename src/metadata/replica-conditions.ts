import { sameCheckpoint } from './checkpoint-body.ts';
import type { OpenReport, ReplicaCondition } from './opened-metadata.ts';
import type { SharedFacts } from './superblock.ts';
import type { FoundSuperblock, SuperblockScan } from './superblock-scan.ts';

const detailByCondition: Readonly<Record<ReplicaCondition, string>> = {
  valid: 'has the newest checkpoint',
  behind: 'its superblock is a generation older: a checkpoint was cut short',
  'not-in-sync': 'was taken out of the set after an error',
  damaged: 'has no valid superblock',
  unreadable: 'its superblocks cannot be read',
};

/** What was found at each replica's places, beside what is opened. */
export function replicaConditions(
  scan: SuperblockScan,
  found: readonly FoundSuperblock[],
  chosen: FoundSuperblock,
  shared: SharedFacts,
): Pick<OpenReport, 'replicas' | 'replicasValid' | 'replicasTotal'> {
  const conditionOf = (index: number, offset: number): ReplicaCondition => {
    const own = found.filter(({ superblock }) => superblock.replica === index);
    const current = own.some(({ superblock }) =>
      sameCheckpoint(superblock.checkpoint, chosen.superblock.checkpoint),
    );
    if ((shared.inSyncMask & (1 << index)) === 0) return 'not-in-sync';
    if (current) return 'valid';
    if (own.length > 0) return 'behind';
    return scan.unreadablePlaces.has(offset) ? 'unreadable' : 'damaged';
  };
  const replicas = shared.layout.replicas.map(({ superblockOffset }, index) => {
    const condition = conditionOf(index, superblockOffset);
    return { index, offset: superblockOffset, condition, detail: detailByCondition[condition] };
  });
  return {
    replicas,
    replicasValid: replicas.filter(({ condition }) => condition === 'valid').length,
    replicasTotal: replicas.length,
  };
}
