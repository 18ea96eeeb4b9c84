import type { RemapStatus } from '../remap-status.ts';
import { spareWarnPercent } from '../spare-use.ts';

/**
 * - `ok`        nothing is bad
 * - `degraded`  every request whose data exists is served, and something is bad
 * - `failing`   some requests are refused, or the next fault will not be survived
 */
export type HealthWord = 'ok' | 'degraded' | 'failing';

export interface Health {
  readonly word: HealthWord;
  /** One clause each, the worst first; none for `ok`. */
  readonly reasons: readonly string[];
}

/** What somebody who looks after disks should know of a device. */
export function healthOf(status: RemapStatus): Health {
  const failing = failingReasons(status);
  const reasons = [...failing, ...degradedReasons(status)];
  if (reasons.length === 0) return { word: 'ok', reasons };
  return { word: failing.length > 0 ? 'failing' : 'degraded', reasons };
}

/** One line: `ok`, or `degraded: REASON; REASON`, or `failing: …`. */
export function healthText(status: RemapStatus): string {
  const { word, reasons } = healthOf(status);
  return reasons.length === 0 ? word : `${word}: ${reasons.join('; ')}`;
}

function failingReasons(status: RemapStatus): string[] {
  const reasons: string[] = [];
  if (status.state !== 'ok') reasons.push(status.state);
  if (status.goneSectors > 0) reasons.push(`${countOf(status.goneSectors, 'sector')} gone`);
  if (status.metadata.replicasInSync < 2 && status.metadata.replicasTotal > 1)
    reasons.push('one replica of the metadata left');
  return reasons;
}

function degradedReasons(status: RemapStatus): string[] {
  const { counters, metadata } = status;
  const reasons: string[] = [];
  const note = (count: number, noun: string, what: string): void => {
    if (count > 0) reasons.push(`${countOf(count, noun)} ${what}`);
  };
  note(status.remappedGranules, 'block', 'moved to the spare');
  note(status.unreadableSectors, 'sector', 'unreadable');
  note(status.freshZeroSectors, 'sector', 'unreadable and never written');
  note(status.slotsRetired, 'bad slot', 'on the spare');
  // A spare that fails writes now and then, in a slot here and there, has no state of its own: this is how it is seen.
  note(counters.spareErrors, 'error', 'of the spare');
  note(counters.verifyMismatches, 'write', 'read back wrong');
  if (status.state !== 'spare-full') reasons.push(...fillingReasons(status));
  note(counters.writesWithoutRoom, 'write', 'refused because the file system or volume below is full');
  if (metadata.replicasInSync < metadata.replicasTotal)
    reasons.push(`${metadata.replicasInSync} of ${metadata.replicasTotal} replicas of the metadata in sync`);
  return reasons;
}

function fillingReasons({ slotsFree, slotsReserved, spareUsedPercent }: RemapStatus): string[] {
  if (slotsFree <= slotsReserved) return [`spare nearly full, ${slotsFree} slots free`];
  return spareWarnPercent(spareUsedPercent) === 0
    ? []
    : [`spare ${spareUsedPercent} % full, ${slotsFree} slots free`];
}

function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
