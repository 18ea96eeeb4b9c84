import { type EventKind, eventKinds, type SampleRecord, type SoakRecord } from './soak-records.ts';

const mebibyte = 1024 * 1024;
/** 64 MiB of request memory, and a Node.js process with its threads, which is 90 to 130 MiB. */
const residentBytesMax = 320 * mebibyte;
/** What is compiled and allocated once has been by then. */
const warmUpSeconds = 60;
/** Shorter pieces tell nothing about a slope: a collection of garbage is 5 MiB. */
const slopeSecondsMin = 300;
const slopeBytesMax = 8 * mebibyte;
const slopeUnitSeconds = 600;
/** A command of the control socket under way, a connection that is being closed. */
const openFilesGrowthMax = 3;
const threadsGrowthMax = 2;
const quarterSamplesMin = 3;
/** Counters of the device that must stay zero. */
const forbiddenCounters = ['failedWrites', 'verifyMismatches', 'spareErrors'];

export interface Verdict {
  readonly violations: readonly string[];
  /** Bytes in ten minutes; undefined when no session was long enough. */
  readonly residentSlope: number | undefined;
  readonly slopeSeconds: number;
  readonly residentLeast: number;
  readonly residentMost: number;
  readonly openFilesLeast: number;
  readonly openFilesMost: number;
}

/**
 * Judges what a run has recorded. Wrong bytes are found while it runs, by those who read them; this is about what grows, what
 * the device itself admits, and whether all that was to happen did.
 */
export function judgeSoak(records: readonly SoakRecord[]): Verdict {
  const samples = records.filter((record) => record.kind === 'sample');
  const sessions = bySession(samples);
  const warm = sessions.map((session) => session.filter((one) => one.sessionSeconds >= warmUpSeconds));
  const slopeSeconds = warm.reduce((sum, session) => sum + durationOf(session), 0);
  const residentSlope = slopeSeconds < slopeSecondsMin ? undefined : slopeWithin(warm) * slopeUnitSeconds;
  const resident = samples.map(({ residentBytes }) => residentBytes);
  const openFiles = samples.map((sample) => sample.openFiles);
  const violations = [
    ...(samples.length === 0 ? ['no sample was taken'] : []),
    ...absentEvents(records),
    ...(samples.some(({ remappedGranules }) => remappedGranules > 0) ? [] : ['nothing was moved']),
    ...sessions.flatMap(growthIn),
    ...records.flatMap(admitted),
  ];
  if (residentSlope !== undefined && residentSlope > slopeBytesMax) {
    violations.push(`resident memory grows by ${mebibytes(residentSlope)} MiB in 10 minutes, at most 8.0`);
  }
  const most = Math.max(0, ...resident);
  if (most > residentBytesMax) violations.push(`resident memory was ${mebibytes(most)} MiB, at most 320.0`);
  return {
    violations,
    residentSlope,
    slopeSeconds,
    residentLeast: Math.min(...resident),
    residentMost: most,
    openFilesLeast: Math.min(...openFiles),
    openFilesMost: Math.max(0, ...openFiles),
  };
}

function bySession(samples: readonly SampleRecord[]): SampleRecord[][] {
  const sessions = new Map<number, SampleRecord[]>();
  for (const sample of samples) {
    const session = sessions.get(sample.session) ?? [];
    session.push(sample);
    sessions.set(sample.session, session);
  }
  return [...sessions.values()];
}

function absentEvents(records: readonly SoakRecord[]): string[] {
  const seen = new Set<EventKind>(
    records.flatMap((record) => (record.kind === 'event' ? [record.event] : [])),
  );
  return eventKinds.filter((kind) => !seen.has(kind)).map((kind) => `'${kind}' never happened`);
}

/** Medians of the first and the last quarter: descriptors and threads of a session must not become more. */
function growthIn(samples: readonly SampleRecord[]): string[] {
  const quarter = Math.floor(samples.length / 4);
  if (quarter < quarterSamplesMin) return [];
  const grown = (value: (sample: SampleRecord) => number): number =>
    median(samples.slice(-quarter).map(value)) - median(samples.slice(0, quarter).map(value));
  const session = `session ${samples[0]!.session}`;
  const files = grown((sample) => sample.openFiles);
  const threads = grown((sample) => sample.threads);
  return [
    ...(files > openFilesGrowthMax ? [`${session}: ${files} more open files at its end`] : []),
    ...(threads > threadsGrowthMax ? [`${session}: ${threads} more threads at its end`] : []),
  ];
}

/** What the device says of itself. */
function admitted(record: SoakRecord): string[] {
  if (record.kind === 'sample' && record.goneSectors > 0) {
    return [`session ${record.session}: ${record.goneSectors} sectors are gone, of a spare that is well`];
  }
  if (record.kind !== 'session') return [];
  const violations = forbiddenCounters
    .filter((name) => (record.counters[name] ?? 0) > 0)
    .map((name) => `session ${record.session}: ${name} ${record.counters[name]}`);
  if (record.requestsLeft > 0) {
    violations.push(`session ${record.session}: ${record.requestsLeft} requests in flight without a client`);
  }
  return violations;
}

/** Least squares with one slope for all sessions and a level of its own for each; bytes a second. */
function slopeWithin(sessions: readonly (readonly SampleRecord[])[]): number {
  let covariance = 0;
  let variance = 0;
  for (const session of sessions) {
    const meanSeconds = mean(session.map((sample) => sample.sessionSeconds));
    const meanBytes = mean(session.map((sample) => sample.residentBytes));
    for (const { sessionSeconds, residentBytes } of session) {
      covariance += (sessionSeconds - meanSeconds) * (residentBytes - meanBytes);
      variance += (sessionSeconds - meanSeconds) ** 2;
    }
  }
  return variance === 0 ? 0 : covariance / variance;
}

function durationOf(session: readonly SampleRecord[]): number {
  return session.length < 2 ? 0 : session.at(-1)!.sessionSeconds - session[0]!.sessionSeconds;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)]!;
}

export function mebibytes(bytes: number): string {
  return (bytes / mebibyte).toFixed(1);
}
