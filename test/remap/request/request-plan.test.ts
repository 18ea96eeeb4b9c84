import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { deviceError } from '../../../src/block/device-error.ts';
import { noSlot } from '../../../src/metadata/mapping-state.ts';
import { type Piece, planPieces } from '../../../src/remap/request/request-plan.ts';
import { halves, toVirtual, unitsOf } from '../../../src/remap/request/request-rounds.ts';
import { GranuleTable, healthyState } from '../../../src/remap/table/granule-table.ts';
import { runsOf, sectorMask } from '../../../src/remap/table/sector-mask.ts';

const deviceSectors = 640;

/** Where one sector lives, from its granule's state alone. */
function placeOf(table: GranuleTable, granuleSectors: number, sector: number): [string, number] {
  const granule = Math.floor(sector / granuleSectors);
  const index = sector % granuleSectors;
  const state = table.get(granule) ?? healthyState(granule);
  const isIn = (map: number) => Math.floor(map / 2 ** index) % 2 === 1;
  if (isIn(state.held)) return ['spare', state.slot * granuleSectors + index];
  if (isIn(state.unreadable) || isIn(state.gone)) return ['lost', sector];
  return ['main', sector];
}

const anyTable = fc
  .record({
    granuleSectors: fc.constantFrom(1, 2, 8, 32),
    states: fc.array(
      fc.record({
        granule: fc.nat(80),
        slot: fc.integer({ min: -1, max: 40 }),
        first: fc.nat(0xffff_ffff),
        second: fc.nat(0xffff_ffff),
      }),
      { maxLength: 40 },
    ),
  })
  .map(({ granuleSectors, states }) => {
    const table = new GranuleTable();
    const all = granuleSectors === 32 ? 0xffff_ffff : 2 ** granuleSectors - 1;
    for (const { granule, slot, first, second } of states) {
      const held = slot === noSlot ? 0 : (first & second & all) >>> 0;
      const unreadable = (first & ~second & all) >>> 0;
      const gone = (second & ~first & all) >>> 0;
      table.set({ ...healthyState(granule), slot, held, unreadable, gone });
    }
    return { granuleSectors, table };
  });

describe('planPieces', () => {
  it('says for every sector where it lives, in as few pieces as possible', () => {
    fc.assert(
      fc.property(
        anyTable,
        fc.nat(deviceSectors - 1),
        fc.integer({ min: 1, max: deviceSectors }),
        ({ granuleSectors, table }, sector, length) => {
          const count = Math.min(length, deviceSectors - sector);
          const pieces = planPieces(table, granuleSectors * 512, sector * 512, count * 512);
          let at = sector;
          for (const [index, piece] of pieces.entries()) {
            assert.equal(piece.offset, at * 512, 'no gap, no overlap');
            for (let within = 0; within < piece.length / 512; within += 1) {
              const expected = placeOf(table, granuleSectors, at + within);
              assert.deepEqual([piece.place, piece.deviceOffset / 512 + within], expected);
            }
            at += piece.length / 512;
            const before = pieces[index - 1];
            const joinable =
              before?.place === piece.place && before.deviceOffset + before.length === piece.deviceOffset;
            assert(!joinable, 'neighbours on a device are one piece');
          }
          assert.equal(at, sector + count);
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('halves and unitsOf', () => {
  const range = fc.record({
    offset: fc.nat(5000).map((sector) => sector * 512),
    length: fc.integer({ min: 1, max: 3000 }).map((count) => count * 512),
  });
  const unit = fc.constantFrom(512, 4096, 16_384);

  it('cut at multiples of the unit and lose nothing', () => {
    fc.assert(
      fc.property(range, unit, (whole, unitBytes) => {
        const units = unitsOf(whole, unitBytes);
        let at = whole.offset;
        for (const part of units) {
          assert.equal(part.offset, at);
          const last = part.offset + part.length - 1;
          assert.equal(Math.floor(part.offset / unitBytes), Math.floor(last / unitBytes));
          at += part.length;
          assert(at % unitBytes === 0 || at === whole.offset + whole.length);
        }
        assert.equal(at, whole.offset + whole.length);
        const parts = halves(whole, unitBytes);
        assert.equal(parts === undefined, units.length === 1);
        if (parts === undefined) return;
        const [low, high] = parts;
        assert.equal(low.offset, whole.offset);
        assert.equal(low.offset + low.length, high.offset);
        assert.equal(high.offset % unitBytes, 0);
        assert.equal(high.offset + high.length, whole.offset + whole.length);
        assert(low.length > 0 && high.length > 0);
      }),
    );
  });

  it('narrow 32 MiB to single granules in 16 halvings', () => {
    let part = { offset: 512, length: 32 << 20 };
    let rounds = 0;
    for (let next = halves(part, 512); next !== undefined; next = halves(part, 512)) {
      part = next[0].length > next[1].length ? next[0] : next[1];
      rounds += 1;
    }
    assert.equal(part.length, 512);
    assert(rounds <= 16);
  });
});

describe('toVirtual', () => {
  const piece: Piece = { place: 'spare', offset: 8192, length: 4096, deviceOffset: 40_960 };

  it('translates what is of the piece and cuts what is not', () => {
    const ranges = toVirtual(piece, deviceError('spare', 'suspect', 40_448, 1024));
    assert.deepEqual(
      ranges.map(({ offset, length, kind }) => [offset, length, kind]),
      [[8192, 512, 'suspect']],
    );
  });

  it('takes an error that names nothing of the piece as one about all of it: never a success', () => {
    const ranges = toVirtual(piece, deviceError('spare', 'suspect', 0, 4096));
    assert.deepEqual(
      ranges.map(({ offset, length, kind }) => [offset, length, kind]),
      [[8192, 4096, 'path']],
    );
  });
});

describe('sector masks', () => {
  it('runsOf gives back what sectorMask was made of', () => {
    for (let from = 0; from < 32; from += 1) {
      for (let to = from + 1; to <= 32; to += 1) {
        const mask = sectorMask(from * 512, to * 512);
        assert(mask > 0, 'unsigned');
        assert.deepEqual(runsOf(mask), [{ from: from * 512, to: to * 512 }]);
      }
    }
    assert.deepEqual(runsOf(0), []);
    assert.deepEqual(runsOf(0x8000_0005 | 0), [
      { from: 0, to: 512 },
      { from: 1024, to: 1536 },
      { from: 31 * 512, to: 32 * 512 },
    ]);
  });
});
