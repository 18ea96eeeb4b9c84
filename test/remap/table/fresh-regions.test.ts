import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { StateCursor } from '../../../src/metadata/mapping-state.ts';
import { FreshRegions } from '../../../src/remap/table/fresh-regions.ts';

const mib = 2 ** 20;

/** All runs of a pass in pieces of `limit`. */
function pass(regions: FreshRegions, limit: number): { region: number; regionCount: number }[] {
  const found: { region: number; regionCount: number }[] = [];
  let cursor: StateCursor | undefined = { section: 'fresh-ended', next: 0 };
  while (cursor !== undefined) {
    const piece = regions.recordsAfter(cursor.next, limit);
    assert.ok(piece.records.length <= limit);
    found.push(...piece.records);
    cursor = piece.cursor;
  }
  return found;
}

describe('fresh regions', () => {
  it('R13 a device that is not fresh has none: every region has ended', () => {
    const regions = new FreshRegions(0);
    assert.equal(regions.regionCount, 0);
    assert.equal(regions.hasEnded(0), true);
    assert.deepEqual(pass(regions, 10), []);
  });

  it('R13 what lies behind the size at creation is not fresh', () => {
    const regions = new FreshRegions(3 * mib + 512);
    assert.equal(regions.regionCount, 4);
    assert.equal(regions.hasEnded(3), false);
    assert.equal(regions.hasEnded(4), true);
  });

  it('M9 R13 a pass in pieces gives exactly the ended regions, in runs', () => {
    const part = fc.record({ region: fc.nat(199), regionCount: fc.integer({ min: 1, max: 20 }) });
    fc.assert(
      fc.property(fc.array(part, { maxLength: 40 }), fc.integer({ min: 1, max: 9 }), (parts, limit) => {
        const regions = new FreshRegions(200 * mib);
        const expected = new Set<number>();
        for (const { region, regionCount } of parts) {
          const inside = Math.min(regionCount, 200 - region);
          regions.end(region, inside);
          for (let at = 0; at < inside; at += 1) expected.add(region + at);
        }
        const runs = pass(regions, limit);
        const found = runs.flatMap(({ region, regionCount }) =>
          Array.from({ length: regionCount }, (_, index) => region + index),
        );
        assert.deepEqual(
          found,
          [...expected].sort((a, b) => a - b),
        );
        assert.equal(regions.endedCount, expected.size);
        assert.ok([...expected].every((region) => regions.hasEnded(region)));
      }),
    );
  });
});
