import { mebibytes, type Verdict } from './soak-judge.ts';
import type { EventKind, SampleRecord, SoakRecord } from './soak-records.ts';

/** What a run has seen, in one line. */
export function summarize(records: readonly SoakRecord[], verdict: Verdict): string {
  const sessions = records.filter((record) => record.kind === 'session');
  const samples = records.filter((record) => record.kind === 'sample');
  const last = sessions.at(-1);
  if (last === undefined) return 'nothing';
  const times = (event: EventKind): number =>
    records.filter((record) => record.kind === 'event' && record.event === event).length;
  const fio = (value: (session: (typeof sessions)[number]) => number): number =>
    sessions.reduce((sum, session) => sum + value(session), 0);
  const { collectedSlope, collectedMost, residentSlope, slopeSeconds } = verdict;
  const collected =
    collectedSlope === undefined
      ? 'growth not judged: sessions of one length'
      : `${mebibytes(collectedSlope)} MiB more in 10 minutes`;
  return [
    `${sessions.length} sessions: ${times('kill')} kills, ${times('remove')} removes, ${times('outages')} outages of main (${last.failedFlushesTold} failed flushes told)`,
    `${times('suspend')} suspends, ${times('verify')} verify, ${times('unremap')} unremap, ${times('replica-rewritten')} replicas rewritten`,
    `${last.writesAcknowledged} own writes acknowledged, ${last.readsChecked} reads compared meanwhile`,
    `fio ${fio((one) => one.fioReads)} reads, ${fio((one) => one.fioWrites)} writes`,
    `${times('verified')} times every sector verified, 0 wrong`,
    `at most ${most(samples, (sample) => sample.remappedGranules)} blocks moved, ${most(samples, (sample) => sample.unreadableSectors)} sectors unreadable`,
    `resident ${mebibytes(verdict.residentLeast)} to ${mebibytes(verdict.residentMost)} MiB, slope ${mebibytes(residentSlope)} MiB in 10 minutes over ${Math.round(slopeSeconds)} s with garbage`,
    `live objects at most ${mebibytes(collectedMost)} MiB, ${collected}`,
    `open files ${verdict.openFilesLeast} to ${verdict.openFilesMost}`,
  ].join('; ');
}

function most(samples: readonly SampleRecord[], value: (sample: SampleRecord) => number): number {
  return Math.max(0, ...samples.map(value));
}
