import {
  type EventKind,
  eventKinds,
  type SampleRecord,
  type SessionRecord,
  type SoakRecord,
} from './soak-records.ts';

const mebibyte = 1024 * 1024;
/**
 * 64 MiB of request memory, and a Node.js process with its threads, whose heaps fill up before they are collected: 88 to
 * 122 MiB were seen.
 */
const residentBytesMax = 192 * mebibyte;
/** What is compiled and allocated once has been by then. */
const warmUpSeconds = 60;
/**
 * Sessions that differ by less in length tell nothing about what grows with time: code and caches fill up for minutes. Seen were
 * 21.7 MiB at the start, 24.0 after 1 minute, 27.0 after 7, and 27.0 of another process after 11.
 */
const lengthsSecondsMin = 900;
/** Live objects after a collection. The table of a few thousand moved blocks is less than one. */
const collectedSlopeBytesMax = 2 * mebibyte;
const collectedBytesMax = 36 * mebibyte;
const slopeUnitSeconds = 600;
/** A command of the control socket under way, a connection that is being closed. */
const openFilesGrowthMax = 3;
const threadsGrowthMax = 2;
/** Moves under way have a slot and no entry yet; at most one was seen. */
const slotsAheadMax = 32;
const quarterSamplesMin = 3;
/** Counters of the device that must stay zero. */
const forbiddenCounters = ['failedWrites', 'verifyMismatches', 'spareErrors'];

export interface Verdict {
  readonly violations: readonly string[];
  /** Live objects: bytes more in a session that is ten minutes longer; undefined when the sessions are too much alike. */
  readonly collectedSlope: number | undefined;
  readonly collectedMost: number;
  /**
   * Resident memory within sessions: bytes in ten minutes. Not judged: it is garbage not yet collected, of which V8 keeps more
   * and more before it looks, so that the same process falls by 26 MiB when it is made to collect.
   */
  readonly residentSlope: number;
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
  const ended = records.filter((record) => record.kind === 'session');
  const sessions = bySession(samples);
  const warm = sessions.map((session) => session.filter((one) => one.sessionSeconds >= warmUpSeconds));
  const resident = samples.map(({ residentBytes }) => residentBytes);
  const openFiles = samples.map((sample) => sample.openFiles);
  const collected = {
    collectedSlope: collectedSlopeOf(ended),
    collectedMost: Math.max(0, ...ended.map(({ collectedHeapBytes }) => collectedHeapBytes)),
  };
  const residentMost = Math.max(0, ...resident);
  return {
    violations: [
      ...(samples.length === 0 ? ['no sample was taken'] : []),
      ...absentEvents(records),
      ...(samples.some(({ remappedGranules }) => remappedGranules > 0) ? [] : ['nothing was moved']),
      ...sessions.flatMap(growthIn),
      ...records.flatMap(admitted),
      ...lostSlots(samples),
      ...tooMuchMemory(collected.collectedSlope, collected.collectedMost, residentMost),
    ],
    ...collected,
    residentSlope: slopeWithin(warm) * slopeUnitSeconds,
    slopeSeconds: warm.reduce((sum, session) => sum + durationOf(session), 0),
    residentLeast: Math.min(...resident),
    residentMost,
    openFilesLeast: Math.min(...openFiles),
    openFilesMost: Math.max(0, ...openFiles),
  };
}

function tooMuchMemory(slope: number | undefined, collectedMost: number, residentMost: number): string[] {
  const violations: string[] = [];
  if (slope !== undefined && slope > collectedSlopeBytesMax) {
    violations.push(
      `live objects grow by ${mebibytes(slope)} MiB in 10 minutes, at most ${mebibytes(collectedSlopeBytesMax)}`,
    );
  }
  if (collectedMost > collectedBytesMax) {
    violations.push(
      `live objects were ${mebibytes(collectedMost)} MiB, at most ${mebibytes(collectedBytesMax)}`,
    );
  }
  if (residentMost > residentBytesMax) {
    violations.push(
      `resident memory was ${mebibytes(residentMost)} MiB, at most ${mebibytes(residentBytesMax)}`,
    );
  }
  return violations;
}

/** Least squares over sessions: their length, and what lived at their end. */
function collectedSlopeOf(sessions: readonly SessionRecord[]): number | undefined {
  const points = sessions.map(({ trafficSeconds, collectedHeapBytes }) => ({
    x: trafficSeconds,
    y: collectedHeapBytes,
  }));
  const lengths = points.map(({ x }) => x);
  if (Math.max(...lengths) - Math.min(...lengths) < lengthsSecondsMin || points.length < 2) return undefined;
  return slopeOfGroups([points]) * slopeUnitSeconds;
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

/** Each moved block has a slot, and each slot is used, free or retired. */
function lostSlots(samples: readonly SampleRecord[]): string[] {
  const totals = new Set(
    samples.map(({ slotsUsed, slotsFree, slotsRetired }) => slotsUsed + slotsFree + slotsRetired),
  );
  const ahead = samples.find(
    ({ slotsUsed, remappedGranules }) =>
      slotsUsed < remappedGranules || slotsUsed > remappedGranules + slotsAheadMax,
  );
  return [
    ...(totals.size > 1 ? [`the spare had ${[...totals].join(' and ')} slots`] : []),
    ...(ahead === undefined
      ? []
      : [`session ${ahead.session}: ${ahead.slotsUsed} slots for ${ahead.remappedGranules} blocks`]),
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

function slopeWithin(sessions: readonly (readonly SampleRecord[])[]): number {
  return slopeOfGroups(
    sessions.map((session) =>
      session.map(({ sessionSeconds, residentBytes }) => ({ x: sessionSeconds, y: residentBytes })),
    ),
  );
}

interface Point {
  readonly x: number;
  readonly y: number;
}

/** Least squares with one slope for all groups and a level of its own for each. */
function slopeOfGroups(groups: readonly (readonly Point[])[]): number {
  let covariance = 0;
  let variance = 0;
  for (const points of groups) {
    const meanX = mean(points.map(({ x }) => x));
    const meanY = mean(points.map(({ y }) => y));
    for (const { x, y } of points) {
      covariance += (x - meanX) * (y - meanY);
      variance += (x - meanX) ** 2;
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
