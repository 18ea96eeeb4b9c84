import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { emptyLedger, withEvents } from '../../src/health/event-ledger.ts';
import {
  decodeRecord,
  diskKey,
  emptyRecord,
  encodeRecord,
  type HealthRecord,
  historyOf,
  keepReading,
  recordBytesMax,
  recordDisksMax,
} from '../../src/health/health-record.ts';
import { historyDaysMax, recentIncreases, withReading } from '../../src/health/smart-history.ts';
import { increasesBetween, smartCounterNames } from '../../src/health/smart-reading.ts';
import { wellReading } from './health-examples.ts';

const daySeconds = 86_400;

/** As full as it gets. */
function fullRecord(): HealthRecord {
  const counters = Object.fromEntries(smartCounterNames.map((name) => [name, Number.MAX_SAFE_INTEGER]));
  let record: HealthRecord = emptyRecord;
  for (let disk = 0; disk < 2 * recordDisksMax; disk += 1) {
    for (let day = 0; day < 2 * historyDaysMax; day += 1) {
      const reading = { ...wellReading, model: 'x'.repeat(200), serial: `${disk}`.repeat(100), counters };
      record = keepReading(record, `main ${disk}`, {
        ...reading,
        unixSeconds: 1_700_000_000 + day * daySeconds,
      });
    }
  }
  const events = Array.from({ length: 400 }, (_, at) => ({
    sequence: at + 1,
    unixMs: 1_700_000_000_000 + at * daySeconds * 1000,
    kind: at % 2 === 0 ? 'taken-home' : 'unreadable',
    fields: { sectors: 1, firstSector: 2 ** 40 + at, lastSector: 2 ** 40 + at },
  }));
  return { ...record, toldScore: 40, ledger: withEvents(emptyLedger, events) };
}

describe('what a host keeps of a device', () => {
  it('comes back as it was, and is never larger than it may be', () => {
    const record = fullRecord();
    const text = encodeRecord(record);
    assert.deepEqual(decodeRecord(text), record);
    assert.ok(Buffer.byteLength(text) < recordBytesMax, `${Buffer.byteLength(text)} bytes`);
    assert.equal(record.disks.length, recordDisksMax);
    assert.deepEqual(decodeRecord(encodeRecord(emptyRecord)), emptyRecord);
  });

  it('is nothing at all when it is damaged, and never an exception', () => {
    const text = encodeRecord(fullRecord());
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.constantFrom('', '{', '"', '-1', 'null', '[]'), (at, by) => {
        const damaged = decodeRecord(text.slice(0, at) + by + text.slice(at + 1 + by.length));
        // What still is a record is one all through.
        if (damaged !== undefined) assert.deepEqual(decodeRecord(encodeRecord(damaged)), damaged);
      }),
      { numRuns: 200 },
    );
    const bad = ['', 'null', '[]', '{}', '{"version":2}', text.slice(0, -3)];
    for (const one of bad) assert.equal(decodeRecord(one), undefined);
    assert.equal(decodeRecord(text.replace('"toldScore":40', '"toldScore":"40"')), undefined);
    assert.equal(decodeRecord(text.replace('"sequence":400', '"sequence":-1')), undefined);
  });
});

describe('SMART over time', () => {
  const at = (day: number, reallocatedSectors: number, serial = 'W123') => ({
    ...wellReading,
    serial,
    unixSeconds: 20_000 * daySeconds + day * daySeconds,
    counters: { reallocatedSectors },
  });

  it('knows how much a count grew in 7 days, and since the first reading of a disk that came later', () => {
    let history = withReading(undefined, at(0, 10));
    assert.deepEqual(recentIncreases(history), { reallocatedSectors: 0 });
    history = withReading(history, at(1, 14));
    assert.deepEqual(recentIncreases(history), { reallocatedSectors: 4 }, 'known for a day');
    for (let day = 2; day <= 20; day += 1) history = withReading(history, at(day, 14 + day));
    assert.deepEqual(recentIncreases(history), { reallocatedSectors: 7 });
    history = withReading(history, at(20.5, 50));
    assert.deepEqual(recentIncreases(history), { reallocatedSectors: 23 }, 'what grew today counts today');
    for (let day = 21; day < 100; day += 1) history = withReading(history, at(day, 50));
    assert.deepEqual(recentIncreases(history), { reallocatedSectors: 0 });
    assert.equal(history.days.length, historyDaysMax);
  });

  it('begins anew with another disk in the same place, and alerts of nothing then', () => {
    const history = withReading(withReading(undefined, at(0, 10)), at(1, 4000, 'another'));
    assert.deepEqual(recentIncreases(history), { reallocatedSectors: 0 });
    assert.deepEqual(increasesBetween(at(0, 10), at(1, 4000, 'another')), []);
  });

  it('alerts of what grew, not of what is there, nor of what only wears', () => {
    assert.deepEqual(increasesBetween(at(0, 10), at(1, 10)), []);
    assert.deepEqual(increasesBetween(at(0, 10), at(1, 12)), [
      { counter: 'reallocatedSectors', from: 10, to: 12 },
    ]);
    const before = { ...at(0, 1), counters: { wearPercent: 3, unsafeShutdowns: 1 } };
    const now = { ...at(1, 1), counters: { wearPercent: 5, unsafeShutdowns: 9, mediaErrors: 7 } };
    assert.deepEqual(
      increasesBetween(before, now),
      [],
      'a count that was not there has nothing to grow from',
    );
  });

  it('knows a disk again by what the kernel says of it, else by its place', () => {
    assert.equal(diskKey('main', { wwn: '5000c5', serial: 'W1' }, '/dev/sda'), 'main 5000c5');
    assert.equal(diskKey('main', { wwn: '', serial: 'W1' }, '/dev/sda'), 'main W1');
    assert.equal(diskKey('spare', { wwn: '', serial: '' }, '/dev/sda'), 'spare /dev/sda');
    const record = keepReading(emptyRecord, 'main W1', at(0, 3));
    assert.equal(historyOf(record, 'main W1')?.last.counters.reallocatedSectors, 3);
    assert.equal(historyOf(record, 'spare W1'), undefined);
  });
});
