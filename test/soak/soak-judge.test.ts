import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LatencyHistogram } from './latency-histogram.ts';
import { judgeSoak } from './soak-judge.ts';
import { eventKinds, type SampleRecord, type SessionRecord, type SoakRecord } from './soak-records.ts';

const mebibyte = 1024 * 1024;
const sampleCount = 120;
const secondsApart = 5;
const none = new LatencyHistogram().percentiles();

function sample(session: number, index: number, changes: Partial<SampleRecord> = {}): SampleRecord {
  const sessionSeconds = index * secondsApart;
  return {
    kind: 'sample',
    seconds: session * sampleCount * secondsApart + sessionSeconds,
    session,
    sessionSeconds,
    // A level of its own for each session, and the teeth of a garbage collector.
    residentBytes: (100 + 20 * session + (index % 7)) * mebibyte,
    openFiles: 35 + (index % 2),
    threads: 11,
    requestsInFlight: 4,
    reads: none,
    writes: none,
    remappedGranules: 12,
    slotsUsed: 12,
    slotsFree: 1000,
    slotsRetired: 0,
    unreadableSectors: 3,
    goneSectors: 0,
    ...changes,
  };
}

function samples(change: (index: number) => Partial<SampleRecord> = () => ({})): SampleRecord[] {
  return [0, 1].flatMap((session) =>
    Array.from({ length: sampleCount }, (_, index) => sample(session, index, change(index))),
  );
}

const session: SessionRecord = {
  kind: 'session',
  seconds: 600,
  session: 0,
  end: 'remove',
  trafficSeconds: 600,
  collectedHeapBytes: 20 * mebibyte,
  collectedResidentBytes: 90 * mebibyte,
  writesAcknowledged: 100,
  readsChecked: 100,
  fioReads: 10,
  fioWrites: 10,
  failedFlushesTold: 0,
  counters: { failedWrites: 0, mainWriteErrors: 12 },
  requestsLeft: 0,
};

const events: readonly SoakRecord[] = eventKinds.map((event) => ({
  kind: 'event',
  seconds: 1,
  session: 0,
  event,
  detail: '',
}));

function violations(...records: readonly SoakRecord[]): readonly string[] {
  return judgeSoak(records).violations;
}

describe('the judge of a soak', () => {
  test('finds nothing in a run without growth, whatever the level of each session is', () => {
    const verdict = judgeSoak([...events, ...samples(), session]);
    assert.deepEqual(verdict.violations, []);
    assert.ok(Math.abs(verdict.residentSlope) < mebibyte, `${verdict.residentSlope}`);
    assert.deepEqual(
      [verdict.residentLeast, verdict.residentMost, verdict.openFilesLeast, verdict.openFilesMost],
      [100 * mebibyte, 126 * mebibyte, 35, 36],
    );
  });

  test('finds live objects that are more in longer sessions: 2.1 MiB in 10 minutes, and not 1.9', () => {
    const grown = (mebibytesInTenMinutes: number): readonly string[] => {
      const ended = [30, 240, 90, 1200].map((trafficSeconds, index) => ({
        ...session,
        session: index,
        trafficSeconds,
        collectedHeapBytes: (20 + (mebibytesInTenMinutes * trafficSeconds) / 600) * mebibyte,
      }));
      return violations(...events, ...samples(), ...ended);
    };
    assert.deepEqual(grown(2.1), ['live objects grow by 2.1 MiB in 10 minutes, at most 2.0']);
    assert.deepEqual(grown(1.9), []);
  });

  test('finds too many live objects, and says nothing of growth over sessions of one length', () => {
    const large = { ...session, collectedHeapBytes: 37 * mebibyte };
    assert.deepEqual(violations(...events, ...samples(), session, large), [
      'live objects were 37.0 MiB, at most 36.0',
    ]);
    assert.equal(judgeSoak([...events, ...samples(), session, large]).collectedSlope, undefined);
  });

  test('tells the slope of resident memory after the first minute of each session', () => {
    const records = samples((index) => ({
      residentBytes: (index < 12 ? 50 + 4 * index : 100 + (index * secondsApart) / 60) * mebibyte,
    }));
    const { residentSlope } = judgeSoak([...events, ...records, session]);
    assert.ok(Math.abs(residentSlope - 10 * mebibyte) < 1, `${residentSlope}`);
  });

  test('finds too much memory at any moment', () => {
    const peak = samples((index) => (index === 50 ? { residentBytes: 193 * mebibyte } : {}));
    assert.deepEqual(violations(...events, ...peak, session), [
      'resident memory was 193.0 MiB, at most 192.0',
    ]);
  });

  test('finds descriptors and threads that become more within a session', () => {
    const leak = samples((index) => ({ openFiles: 35 + Math.floor(index / 20), threads: 11 }));
    assert.deepEqual(violations(...events, ...leak, session), [
      'session 0: 5 more open files at its end',
      'session 1: 5 more open files at its end',
    ]);
    const threads = samples((index) => ({ threads: 11 + Math.floor(index / 30) }));
    assert.match(violations(...events, ...threads, session).join(), /session 0: 3 more threads at its end/);
  });

  test('believes the device when it admits a failure', () => {
    const failed = { ...session, counters: { failedWrites: 2, verifyMismatches: 0 } };
    assert.deepEqual(violations(...events, ...samples(), failed), ['session 0: failedWrites 2']);
    const left = { ...session, requestsLeft: 1 };
    assert.match(violations(...events, ...samples(), left).join(), /1 requests in flight without a client/);
    const gone = sample(0, 3, { goneSectors: 1 });
    assert.match(violations(...events, ...samples(), gone, session).join(), /1 sectors are gone/);
  });

  test('finds slots that no block has, blocks without a slot, and slots that are nowhere', () => {
    const judged = (changes: Partial<SampleRecord>): readonly string[] =>
      violations(...events, ...samples(), sample(1, sampleCount, changes), session);
    assert.deepEqual(judged({ slotsUsed: 44, slotsFree: 968 }), []);
    assert.deepEqual(judged({ slotsUsed: 45, slotsFree: 967 }), ['session 1: 45 slots for 12 blocks']);
    assert.deepEqual(judged({ slotsUsed: 11, slotsFree: 1001 }), ['session 1: 11 slots for 12 blocks']);
    assert.deepEqual(judged({ slotsFree: 999 }), ['the spare had 1012 and 1011 slots']);
  });

  test('does not accept a run in which something was to happen and did not', () => {
    const withoutKill = events.filter((record) => record.kind !== 'event' || record.event !== 'kill');
    assert.deepEqual(violations(...withoutKill, ...samples(), session), ["'kill' never happened"]);
    const unmoved = samples(() => ({ remappedGranules: 0, slotsUsed: 0, slotsFree: 1012 }));
    assert.deepEqual(violations(...events, ...unmoved, session), ['nothing was moved']);
    assert.ok(violations(...events, session).includes('no sample was taken'));
  });
});
