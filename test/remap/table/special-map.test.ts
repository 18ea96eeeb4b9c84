import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { SpecialMap } from '../../../src/remap/table/special-map.ts';

interface Change {
  readonly granule: number;
  readonly toggle: boolean;
  readonly span: number;
}

function changesUpTo(granuleCount: number): fc.Arbitrary<Change[]> {
  const edges = [0, 31, 32, 33, 32_767, 32_768, 65_535, 65_536].filter((granule) => granule < granuleCount);
  const granule = fc.oneof(
    fc.constantFrom(...edges, granuleCount - 1),
    fc.integer({ min: 0, max: Math.min(200, granuleCount - 1) }),
    fc.maxSafeNat().map((value) => value % granuleCount),
  );
  const span = fc.oneof(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: 100_000 }));
  return fc.array(fc.record({ granule, toggle: fc.boolean(), span }), { maxLength: 60 });
}

function anyWithin(model: ReadonlySet<number>, first: number, last: number): boolean {
  for (const granule of model) if (granule >= first && granule <= last) return true;
  return false;
}

function play(granuleCount: number, changes: readonly Change[], exact: boolean): void {
  const map = new SpecialMap(granuleCount);
  const model = new Set<number>();
  for (const { granule, toggle, span } of changes) {
    if (toggle && model.delete(granule)) map.remove(granule);
    else if (!model.has(granule)) {
      model.add(granule);
      map.add(granule);
    }
    for (const first of [granule, Math.max(0, granule - span), granule + 1]) {
      const last = Math.min(granuleCount - 1, first + span);
      if (last < first) continue;
      const special = anyWithin(model, first, last);
      if (special) assert(!map.none(first, last), `${first} to ${last}: a special granule is overlooked`);
      else if (exact) assert(map.none(first, last), `${first} to ${last}: nothing special there`);
    }
  }
  for (const granule of model) map.remove(granule);
  assert(map.none(0, granuleCount - 1), 'no bit is left when nothing is special');
}

describe('SpecialMap', () => {
  it('answers like a set, exactly', () => {
    for (const granuleCount of [1, 40, 32_768, 100_000, 2 ** 31]) {
      fc.assert(
        fc.property(changesUpTo(granuleCount), (changes) => play(granuleCount, changes, true)),
        { numRuns: 60 },
      );
    }
  });

  it('never overlooks a special granule where a bit stands for several', () => {
    for (const granuleCount of [2 ** 31 + 1, 2 ** 33 + 5, 2 ** 41]) {
      fc.assert(
        fc.property(changesUpTo(granuleCount), (changes) => play(granuleCount, changes, false)),
        { numRuns: 30 },
      );
    }
  });
});
