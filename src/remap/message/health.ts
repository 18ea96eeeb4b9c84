import type { RemapCore } from '../remap-core.ts';
import type { RemapStatus } from '../remap-status.ts';

/**
 * One line: `ok`, or `degraded: REASON; REASON`, or `failing: …`. Degraded devices serve every request whose data exists;
 * failing ones refuse some, or will not survive the next fault.
 */
export function healthText(core: RemapCore, status: RemapStatus): string {
  const failing = failingReasons(status);
  const reasons = [...failing, ...degradedReasons(core, status)];
  if (reasons.length === 0) return 'ok';
  return `${failing.length > 0 ? 'failing' : 'degraded'}: ${reasons.join('; ')}`;
}

function failingReasons(status: RemapStatus): string[] {
  const reasons: string[] = [];
  if (status.state !== 'ok') reasons.push(status.state);
  if (status.goneSectors > 0) reasons.push(`${status.goneSectors} sectors gone`);
  if (status.metadata.replicasInSync < 2 && status.metadata.replicasTotal > 1)
    reasons.push('one replica of the metadata left');
  return reasons;
}

function degradedReasons(core: RemapCore, status: RemapStatus): string[] {
  const { counters, metadata } = status;
  const { allocator } = core.parts;
  const reasons: string[] = [];
  const note = (count: number, what: string): void => {
    if (count > 0) reasons.push(`${count} ${what}`);
  };
  note(status.remappedGranules, 'blocks moved to the spare');
  note(status.unreadableSectors, 'sectors unreadable');
  note(status.slotsRetired, 'bad slots on the spare');
  note(counters.verifyMismatches, 'writes read back wrong');
  if (status.state !== 'spare-full' && allocator.freeSlots <= allocator.reserveSlots)
    reasons.push(`spare nearly full, ${allocator.freeSlots} slots free`);
  if (metadata.replicasInSync < metadata.replicasTotal)
    reasons.push(`${metadata.replicasInSync} of ${metadata.replicasTotal} replicas of the metadata in sync`);
  return reasons;
}
