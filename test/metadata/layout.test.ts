import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  advisedSpareBytes,
  minimumSpareBytes,
  movesAtOnceMax,
  planLayout,
  type SpareLayout,
  superblockPlaces,
} from '../../src/metadata/layout.ts';
import { MetadataError } from '../../src/metadata/metadata-error.ts';
import { recordsPerBlock } from '../../src/metadata/record-block.ts';

const mib = 1 << 20;
const gib = 1024 * mib;

/** Every part that is written, from the places alone. */
function parts(layout: SpareLayout): { start: number; end: number }[] {
  const found: { start: number; end: number }[] = [];
  for (const place of layout.replicas) {
    found.push({ start: place.superblockOffset, end: place.superblockOffset + 8192 });
    for (const start of place.areaOffsets) found.push({ start, end: start + layout.areaBlocks * 4096 });
    for (const start of place.journalOffsets) found.push({ start, end: start + layout.journalBlocks * 4096 });
  }
  return found.sort((a, b) => a.start - b.start);
}

function assertSound(layout: SpareLayout): void {
  let previousEnd = 64 * 1024;
  for (const { start, end } of parts(layout)) {
    assert.ok(start >= previousEnd, `${start} lies in front of ${previousEnd}`);
    assert.equal(start % 4096, 0);
    previousEnd = end;
  }
  assert.ok(previousEnd <= layout.spareSizeBytes);
  let reserved = 0;
  let end = -1;
  for (const range of layout.reservedRanges()) {
    assert.ok(range.offset > end, 'ranges ascend and do not touch');
    assert.equal(range.offset % layout.granuleBytes, 0);
    assert.equal(range.length % layout.granuleBytes, 0);
    end = range.offset + range.length;
    reserved += range.length;
  }
  for (const part of parts(layout)) {
    const covered = layout
      .reservedRanges()
      .some(({ offset, length }) => offset <= part.start && part.end <= offset + length);
    assert.ok(covered, `I15 ${part.start} to ${part.end} is reserved`);
  }
  const granules = Math.floor(layout.spareSizeBytes / layout.granuleBytes);
  assert.equal(layout.slotCount, granules - reserved / layout.granuleBytes);
  assert.ok(
    layout.areaBlocks * recordsPerBlock >=
      layout.slotCount + layout.lostRangesMax + layout.freshRegionCount + movesAtOnceMax,
    'M18 a checkpoint has room for every slot, every lost range and every ended region',
  );
}

describe('planLayout', () => {
  it('M14 puts superblocks at 64 KiB, 64 MiB and in the last aligned MiB', () => {
    const layout = planLayout(1 * gib + 12_345 * 512, 100 * gib, 4096);
    assert.deepEqual(
      layout.replicas.map(({ superblockOffset }) => superblockOffset),
      [64 * 1024, 64 * mib, 1 * gib + 5 * mib],
    );
    assertSound(layout);
  });

  it('M14 has two replicas where 64 MiB does not fit', () => {
    const layout = planLayout(64 * mib, 1000 * mib, 4096);
    assert.deepEqual(
      layout.replicas.map(({ superblockOffset }) => superblockOffset),
      [64 * 1024, 63 * mib],
    );
    assertSound(layout);
  });

  it('M14 has three replicas on a spare whose metadata does not fit in front of 64 MiB', () => {
    const layout = planLayout(200 * gib, 4000 * gib, 4096);
    assert.equal(layout.replicas.length, 3);
    assertSound(layout);
  });

  it('M18 is sound for any size, granule and option', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 400_000 }),
        fc.constantFrom(512, 1024, 4096, 16_384),
        fc.integer({ min: 0, max: 100_000 }),
        fc.option(fc.integer({ min: 8, max: 2000 }), { nil: undefined }),
        fc.integer({ min: 0, max: 2047 }),
        (sizeMib, granuleBytes, lostRangesMax, journalBlocks, tailSectors) => {
          const options = {
            lostRangesMax,
            ...(journalBlocks === undefined ? {} : { journalBytes: journalBlocks * 4096 }),
          };
          try {
            assertSound(planLayout(sizeMib * mib + tailSectors * 512, 100 * gib, granuleBytes, options));
          } catch (error) {
            if (!(error instanceof MetadataError)) throw error;
            assert.equal(error.code, 'METADATA_SPARE_TOO_SMALL');
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('M18 takes the smallest spare it names, and not one MiB less', () => {
    for (const granuleBytes of [512, 4096, 16_384]) {
      const bytes = minimumSpareBytes(1000 * mib, granuleBytes);
      assertSound(planLayout(bytes, 1000 * mib, granuleBytes));
      assert.throws(() => planLayout(bytes - mib, 1000 * mib, granuleBytes), {
        code: 'METADATA_SPARE_TOO_SMALL',
      });
    }
  });

  it('M18 says in one line what a spare is short of', () => {
    assert.throws(
      () => planLayout(12 * mib, 1000 * mib, 4096),
      (error: unknown) => {
        assert.ok(error instanceof MetadataError);
        assert.match(
          error.message,
          /^spare is 12 MiB, needs at least \d+ MiB for a 1000 MiB main \(.*\); \d+ MiB is advised$/,
        );
        return true;
      },
    );
    assert.ok(
      minimumSpareBytes(1000 * mib, 4096) <= 28 * mib,
      'DESIGN 7: about 27 MiB for a main of 1000 MiB',
    );
    assert.equal(advisedSpareBytes(100 * gib, 4096), Math.ceil((100 * 1024 * 27) / 1000) * mib);
  });

  it('explains the footprint in one line', () => {
    const text = planLayout(64 * mib, 1000 * mib, 4096).explanation();
    assert.match(
      text,
      /^spare of 64 MiB: \d+ slots of 4096 bytes \(.* MiB\), up to 65536 lost ranges, 2 replicas/,
    );
  });

  it('refuses a granule that a bitmap of 32 sectors cannot describe', () => {
    for (const granuleBytes of [0, 256, 768, 32_768]) {
      assert.throws(() => planLayout(1 * gib, 1 * gib, granuleBytes), { code: 'METADATA_UNSUITABLE_SPARE' });
    }
  });
});

describe('superblockPlaces', () => {
  it('never names the first 64 KiB or a place that does not fit', () => {
    assert.deepEqual(superblockPlaces(0), []);
    assert.deepEqual(superblockPlaces(64 * 1024), []);
    assert.deepEqual(superblockPlaces(1 * mib), [64 * 1024]);
    assert.deepEqual(superblockPlaces(3 * mib), [64 * 1024, 2 * mib]);
    assert.deepEqual(superblockPlaces(65 * mib), [64 * 1024, 64 * mib]);
    assert.deepEqual(superblockPlaces(1 * gib), [64 * 1024, 64 * mib, 1023 * mib]);
  });
});
