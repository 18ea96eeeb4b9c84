import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { freshRegionBytes, planLayout } from '../../src/metadata/layout.ts';
import type { MappingRecord } from '../../src/metadata/mapping-state.ts';
import { recordsPerBlock } from '../../src/metadata/record-block.ts';
import { commit, granules, mainSizeBytes, rejectsWith, tableOf, withSpare } from './metadata-fixture.ts';
import { editSuperblocks } from './spare-surgery.ts';

const mib = 2 ** 20;
const ended = (region: number, regionCount = 1): MappingRecord => ({
  type: 'fresh-ended',
  region,
  regionCount,
});

describe('R13 a device created fresh', () => {
  it('says so, and how much of main was fresh', () =>
    withSpare({ fresh: true }, async (spare) => {
      await spare.create();
      const { facts, layout } = await spare.open();
      assert.equal(facts.fresh, true);
      assert.equal(facts.freshSizeBytes, mainSizeBytes);
      assert.equal(layout.freshRegionCount, 64);
    }));

  it('keeps ended regions over crashes, checkpoints and sessions', () =>
    withSpare({ fresh: true }, async (spare) => {
      const device = await spare.createSettled();
      for (let index = 0; index < 40; index += 1) {
        await commit(device, [granules(index, 300 + index), ended((index * 7) % 64)]);
      }
      assert.ok(device.store.status().checkpoints > 0, 'no checkpoint was written');
      spare.powerCut();
      const again = await spare.openSettled();
      assert.deepEqual(again.table.contents(), device.table.contents());
      assert.equal(again.table.freshEnded.size, 40);
      await again.store.close();
      const { records, report } = await spare.open();
      assert.equal(report.journalRecords, 0, 'all of it from a checkpoint');
      assert.deepEqual(tableOf(records).contents(), device.table.contents());
    }));

  it('M10 has the incompatible feature bit 0, and no other device has it', async () => {
    for (const fresh of [true, false]) {
      await withSpare({ fresh }, async (spare) => {
        const { store, opened } = await spare.createSettled();
        await store.close();
        const bits = new Set<number>();
        const sizes = new Set<bigint>();
        editSuperblocks(spare.disk, opened.layout, (view) => {
          bits.add(view.getUint32(40, true));
          sizes.add(view.getBigUint64(328, true));
        });
        assert.deepEqual([...bits], [fresh ? 1 : 0]);
        assert.deepEqual([...sizes], [fresh ? BigInt(mainSizeBytes / 512) : 0n]);
      });
    }
  });

  it('M10 without the bit its records are damage', () =>
    withSpare({ fresh: true }, async (spare) => {
      const device = await spare.createSettled();
      await commit(device, [ended(5)]);
      spare.powerCut();
      editSuperblocks(spare.disk, device.opened.layout, (view) => view.setUint32(40, 0, true));
      await rejectsWith(spare.open(), 'METADATA_CORRUPT');
    }));

  it('M18 has room in a checkpoint for every slot, lost range and region, however large main is', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2 ** 26 }),
        fc.integer({ min: 16, max: 4096 }),
        (mainMib, spareMib) => {
          const size = mainMib * mib;
          const regionBytes = freshRegionBytes(size);
          assert.equal(regionBytes % mib, 0);
          assert.ok(
            regionBytes * 32_768 >= size && (regionBytes === mib || (regionBytes - mib) * 32_768 < size),
          );
          const options = { fresh: true, slotsMin: 16, lostRangesMax: 1000 };
          const layout = planLayout(spareMib * mib, size, 4096, options);
          assert.equal(layout.freshRegionCount, Math.ceil(size / regionBytes));
          assert.ok(layout.areaBlocks * recordsPerBlock >= layout.slotCount + 1000 + layout.freshRegionCount);
        },
      ),
    );
  });
});
