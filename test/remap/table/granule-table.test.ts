import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { noSlot, StateFlags } from '../../../src/metadata/mapping-state.ts';
import {
  type GranuleState,
  GranuleTable,
  healthyState,
  isHealthy,
} from '../../../src/remap/table/granule-table.ts';
import { SeededRandom } from '../../../src/simulator/seeded-random.ts';

const wholeMap = 0xffff_ffff;
const sectorMap = fc.oneof(
  fc.constantFrom(0, 1, 0x8000_0000, wholeMap),
  fc.integer({ min: 0, max: wholeMap }),
);

function stateArbitrary(granules: fc.Arbitrary<number>): fc.Arbitrary<GranuleState> {
  return fc
    .record({
      granule: granules,
      slot: fc.oneof(fc.constant(noSlot), fc.integer({ min: 0, max: 0xffff_fffe })),
      held: sectorMap,
      unreadable: sectorMap,
      gone: sectorMap,
      flags: fc.integer({ min: 0, max: 7 }),
      cause: fc.integer({ min: 0, max: 5 }),
      unixSeconds: fc.integer({ min: 0, max: wholeMap }),
    })
    .map((state) => {
      const held = state.slot === noSlot ? 0 : state.held;
      const unreadable = (state.unreadable & ~held) >>> 0;
      return { ...state, held, unreadable, gone: (state.gone & ~held & ~unreadable) >>> 0 };
    });
}

function bits(map: number): number {
  return map.toString(2).replaceAll('0', '').length;
}

function all(table: GranuleTable): GranuleState[] {
  const states: GranuleState[] = [];
  for (let state = table.atOrAfter(0); state !== undefined; state = table.atOrAfter(state.granule + 1))
    states.push(state);
  return states;
}

function assertEqual(table: GranuleTable, model: ReadonlyMap<number, GranuleState>): void {
  const expected = [...model.values()].toSorted((a, b) => a.granule - b.granule);
  assert.deepEqual(all(table), expected);
  const unreadable = (fresh: boolean): number =>
    expected
      .filter(({ flags }) => ((flags & StateFlags.freshZero) !== 0) === fresh)
      .reduce((sum, state) => sum + bits(state.unreadable), 0);
  assert.deepEqual(table.totals(), {
    entries: expected.length,
    remappedGranules: expected.filter(({ slot }) => slot !== noSlot).length,
    heldSectors: expected.reduce((sum, { held }) => sum + bits(held), 0),
    unreadableSectors: unreadable(false),
    freshZeroSectors: unreadable(true),
    goneSectors: expected.reduce((sum, { gone }) => sum + bits(gone), 0),
  });
}

describe('GranuleTable', () => {
  it('keeps what a map keeps, sorted, with exact totals', () => {
    const granules = fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 2 ** 41 }));
    const changes = fc.array(fc.tuple(stateArbitrary(granules), fc.boolean()), { maxLength: 120 });
    fc.assert(
      fc.property(changes, (list) => {
        const table = new GranuleTable();
        const model = new Map<number, GranuleState>();
        for (const [state, forget] of list) {
          const next = forget ? healthyState(state.granule) : state;
          table.set(next);
          if (isHealthy(next)) model.delete(next.granule);
          else model.set(next.granule, next);
          assert.deepEqual(table.get(next.granule), model.get(next.granule));
        }
        assertEqual(table, model);
      }),
      { numRuns: 150 },
    );
  });

  it('stays sorted through splits and emptied segments', () => {
    const random = new SeededRandom('granule-table');
    const table = new GranuleTable();
    const model = new Map<number, GranuleState>();
    for (let step = 0; step < 30_000; step += 1) {
      const granule = random.below(6000) * 3;
      // First mostly filling, then mostly emptying.
      const forget = random.chance(step < 15_000 ? 0.2 : 0.8);
      const state = forget ? healthyState(granule) : { ...healthyState(granule), slot: step, held: 1 };
      table.set(state);
      if (forget) model.delete(granule);
      else model.set(granule, state);
    }
    assert(model.size > 600);
    assertEqual(table, model);
    for (let granule = 0; granule < 18_010; granule += 1) {
      assert.deepEqual(table.get(granule), model.get(granule));
    }
    for (const granule of model.keys()) table.set(healthyState(granule));
    assertEqual(table, new Map());
    assert.equal(table.atOrAfter(0), undefined);
  });

  it('refuses a sector in two states, and held sectors without a slot: our bug', () => {
    const table = new GranuleTable();
    const state = { ...healthyState(1), slot: 3, held: 3 };
    assert.throws(() => table.set({ ...state, unreadable: 1 }), /AssertionFailure|held sector/);
    assert.throws(() => table.set({ ...state, gone: 2 }), /gone sector/);
    assert.throws(() => table.set({ ...state, slot: noSlot }), /without a slot/);
    assert.equal(table.totals().entries, 0);
  });

  it('M18 takes at most 40 bytes an entry for a million in random order', () => {
    const count = 1_000_000;
    const random = new SeededRandom('a million');
    globalThis.gc?.();
    const before = process.memoryUsage();
    const table = new GranuleTable();
    // A step prime to the range visits every granule once, in no order.
    const step = 2 * random.below(2 ** 20) + 1;
    for (let index = 0; index < count; index += 1) {
      const granule = (index * step) % 2 ** 30;
      table.set({ ...healthyState(granule * 5), slot: index, held: 0xff });
    }
    const bytes = process.memoryUsage().arrayBuffers - before.arrayBuffers;
    assert.equal(table.totals().entries, count);
    assert(
      bytes > 20 * count,
      `${bytes / count} bytes an entry is less than the entries take: nothing was measured`,
    );
    assert(bytes <= 40 * count, `${bytes / count} bytes an entry`);
  });
});
