import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  dayOf,
  emptyLedger,
  growthOf,
  type LedgerEvent,
  ledgerDaysMax,
  ledgerSpansMax,
  withEvents,
} from '../../src/health/event-ledger.ts';

const dayMs = 86_400_000;
const today = 20_000;
const nowMs = today * dayMs + 3_600_000;

let sequence = 0;

function event(kind: string, fields: LedgerEvent['fields'], daysAgo = 0): LedgerEvent {
  sequence += 1;
  return { sequence, unixMs: nowMs - daysAgo * dayMs + sequence, kind, fields };
}

/** All of the sectors from `first` on. */
function span(first: number, sectors: number): LedgerEvent['fields'] {
  return { sectors, firstSector: first, lastSector: first + sectors - 1 };
}

function growthFrom(...events: readonly LedgerEvent[]) {
  return growthOf(withEvents(emptyLedger, events), nowMs);
}

describe('what the event log says by day', () => {
  it('counts sectors that proved bad today, in this week and in the week before', () => {
    const growth = growthFrom(
      event('remapped', { ...span(0, 100), causes: { writeError: 13 } }, 14),
      event('remapped', { ...span(200, 8), causes: { writeError: 1 } }, 13),
      event('unreadable', span(300, 3), 7),
      event('saved-by-salvage', span(400, 16), 6),
      event('remapped', { ...span(500, 8), causes: { timeout: 1 } }),
      event('serving', {}),
      event('of a later program', { sectors: 'many' }),
    );
    assert.deepEqual(
      [growth.badSectorsLastDay, growth.badSectorsLastWeek, growth.badSectorsWeekBefore],
      [8, 24, 11],
    );
  });

  it('leaves out what an operator moved, and the share of it in an event of both', () => {
    assert.equal(
      growthFrom(event('remapped', { ...span(0, 80), causes: { operator: 10 } })).badSectorsLastDay,
      0,
    );
    const both = event('remapped', { ...span(0, 80), causes: { operator: 7, writeError: 3 } });
    assert.equal(growthFrom(both).badSectorsLastDay, 24);
  });

  it('knows what failed again: home and bad once more, or unreadable twice', () => {
    const home = event('taken-home', span(800, 16));
    const again = event('remapped', { ...span(808, 8), causes: { writeError: 1 } });
    const elsewhere = event('remapped', { ...span(4000, 8), causes: { writeError: 1 } });
    assert.equal(growthFrom(home, again, elsewhere).failedAgain, 8);
    const lost = event('unreadable', span(96, 4));
    const moved = event('remapped', { ...span(96, 8), causes: { writeError: 1 } });
    assert.equal(
      growthFrom(lost, moved).failedAgain,
      0,
      'the write that failed where the read had: one defect',
    );
    assert.equal(growthFrom(lost, event('unreadable', span(98, 2))).failedAgain, 2);
    const some = event('taken-home', { sectors: 16, firstSector: 0, lastSector: 90_000 });
    assert.equal(growthFrom(some, event('unreadable', span(8, 1))).failedAgain, 0, 'nobody can say which');
  });

  it('counts paths by disk, bad slots, stuck requests and slow blocks', () => {
    const growth = growthFrom(
      event('path-lost', { disk: 'main' }),
      event('path-lost', { disk: 'spare' }, 2),
      event('path-lost', { disk: 'main' }, 8),
      event('slot-retired', { slots: 3, sectors: 24, firstSector: 0, lastSector: 23 }),
      event('stuck-requests', {}),
      event('slow-blocks', { granules: 5, firstSector: 0, lastSector: 900 }, 29),
      event('slow-blocks', { granules: 7, firstSector: 0, lastSector: 900 }, 30),
    );
    assert.deepEqual(
      [
        growth.mainPathLossesLastWeek,
        growth.sparePathLossesLastWeek,
        growth.slotsRetiredLastWeek,
        growth.stuckLastWeek,
        growth.slowBlocks,
      ],
      [1, 1, 3, 1, 5],
    );
  });

  it('counts every event once, however often and in whatever pieces the log is read', () => {
    const kinds = ['remapped', 'unreadable', 'saved-by-salvage', 'taken-home', 'path-lost', 'serving'];
    const drawn = fc.array(
      fc.record({
        kind: fc.constantFrom(...kinds),
        first: fc.nat(1000),
        sectors: fc.nat(32),
        minutes: fc.nat(20_000),
      }),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(drawn, fc.array(fc.nat(60), { maxLength: 5 }), (events, cuts) => {
        let unixMs = nowMs - 60 * dayMs;
        const log = events.map(({ kind, first, sectors, minutes }, at): LedgerEvent => {
          unixMs += minutes * 60_000 + 1;
          return { sequence: at + 1, unixMs, kind, fields: span(first, sectors) };
        });
        const whole = withEvents(emptyLedger, log);
        const pieces = cuts.reduce((ledger, cut) => withEvents(ledger, log.slice(0, cut)), emptyLedger);
        assert.deepEqual(withEvents(pieces, log), whole);
        // By another way than the ledger's: every bad sector is on some day.
        const bad = log.filter(({ kind }) => ['remapped', 'unreadable', 'saved-by-salvage'].includes(kind));
        const sectors = bad.reduce((sum, { fields }) => sum + Number(fields.sectors), 0);
        assert.equal(
          whole.days.reduce((sum, day) => sum + day.badSectors, 0),
          sectors,
        );
      }),
      { numRuns: 200 },
    );
  });

  it('goes on with a log that began anew, or lost its end, by the time of its events', () => {
    const before = withEvents(emptyLedger, [
      { sequence: 900, unixMs: nowMs, kind: 'unreadable', fields: span(0, 1) },
    ]);
    const anew = { sequence: 1, unixMs: nowMs + 1000, kind: 'unreadable', fields: span(8, 1) };
    assert.equal(growthOf(withEvents(before, [anew]), nowMs).badSectorsLastDay, 2);
    const setBack = { sequence: 901, unixMs: nowMs - 5 * dayMs, kind: 'unreadable', fields: span(8, 1) };
    assert.equal(
      growthOf(withEvents(before, [setBack]), nowMs).badSectorsLastWeek,
      2,
      'a clock that was set back',
    );
  });

  it('keeps so many days and spans, and no more', () => {
    const events = Array.from({ length: 3 * ledgerDaysMax }, (_, at) =>
      event('taken-home', span(at * 100, 8), 3 * ledgerDaysMax - at),
    ).concat(
      Array.from({ length: 3 * ledgerDaysMax }, (_, at) => event('unreadable', span(at * 100, 8), -at)),
    );
    const ledger = withEvents(emptyLedger, events);
    assert.equal(ledger.days.length, ledgerDaysMax);
    assert.equal(ledger.home.length, ledgerSpansMax);
    assert.equal(ledger.unreadable.length, ledgerSpansMax);
    assert.equal(ledger.days.at(-1)?.day, dayOf(events.at(-1)!.unixMs));
  });
});
