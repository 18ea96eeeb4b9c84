import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { SpareLayout } from '../../src/metadata/layout.ts';
import { CrashModel } from './crash-model.ts';
import { TestSpare, tableOf, withSpare } from './metadata-fixture.ts';

/** Opens until it succeeds, with power cuts on the way at the given moments. */
async function reopen(spare: TestSpare, model: CrashModel, cuts: readonly number[]): Promise<void> {
  for (const cut of cuts) {
    const gone = spare.cutAfter(cut);
    const settled = spare.openSettled().then(({ table }) => model.check(table));
    await Promise.race([gone, settled]);
    spare.onOperation = () => {};
    spare.powerCut();
  }
}

async function story(
  seed: number,
  cuts: readonly number[],
  recoveryCuts: readonly number[],
  betweenCuts: (spare: TestSpare, layout: SpareLayout) => void = () => {},
): Promise<number> {
  const spare = new TestSpare({ seed });
  try {
    const model = new CrashModel(spare.random.fork('model'));
    await spare.create();
    for (const cut of cuts) {
      const device = await spare.openSettled();
      model.check(device.table);
      const gone = spare.cutAfter(cut);
      await Promise.race([gone, model.work(device, 60)]);
      spare.onOperation = () => {};
      spare.powerCut();
      betweenCuts(spare, device.opened.layout);
      await reopen(spare, model, recoveryCuts);
    }
    const opened = await spare.open();
    model.check(tableOf(opened.records));
    return model.acknowledgedCalls;
  } finally {
    await spare.end();
  }
}

/** Destroys one replica: superblocks, areas and journals. */
function destroy(spare: TestSpare, layout: SpareLayout, victim: number): void {
  const place = layout.replicas[victim]!;
  const garbage = (offset: number, blocks: number): void => {
    const bytes = new Uint8Array(blocks * 4096);
    spare.random.fill(bytes);
    spare.disk.load(bytes, offset);
  };
  garbage(place.superblockOffset, 2);
  for (const offset of place.areaOffsets) garbage(offset, layout.areaBlocks);
  for (const offset of place.journalOffsets) garbage(offset, layout.journalBlocks);
}

const moments = fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 3 });
const recoveryMoments = fc.array(fc.integer({ min: 1, max: 90 }), { maxLength: 2 });

describe('power cuts', () => {
  it('M1 M3 M4 M5 M7 lose no acknowledged record, at any moment, in commits, checkpoints and recoveries', async () => {
    let acknowledged = 0;
    await fc.assert(
      fc.asyncProperty(fc.integer(), moments, recoveryMoments, async (seed, cuts, recoveryCuts) => {
        acknowledged += await story(seed, cuts, recoveryCuts);
      }),
      { numRuns: 60 },
    );
    assert.ok(acknowledged > 1000, `only ${acknowledged} calls were acknowledged`);
  });

  it('M2 M14 lose no acknowledged record though one replica is destroyed as well', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer(),
        moments,
        recoveryMoments,
        fc.integer({ min: 0, max: 1 }),
        async (seed, cuts, recoveryCuts, victim) => {
          await story(seed, cuts, recoveryCuts, (spare, layout) => {
            destroy(spare, layout, victim);
          });
        },
      ),
      { numRuns: 50 },
    );
  });

  it('M2 lose nothing though all replicas of three but one are destroyed as well', async () => {
    for (const survivor of [0, 1, 2]) {
      await withSpare({ seed: survivor, sizeBytes: 70 << 20 }, async (spare) => {
        const device = await spare.createSettled();
        const { layout } = device.opened;
        assert.equal(layout.replicas.length, 3);
        const model = new CrashModel(spare.random.fork('model'));
        const gone = spare.cutAfter(500);
        await Promise.race([gone, model.work(device, 60)]);
        spare.onOperation = () => {};
        spare.powerCut();
        for (const victim of [0, 1, 2]) if (victim !== survivor) destroy(spare, layout, victim);
        const again = await spare.openSettled();
        assert.equal(again.opened.report.replicasValid, 1);
        assert.equal(again.store.status().replicasInSync, 3);
        model.check(again.table);
        assert.ok(model.acknowledgedCalls > 10);
      });
    }
  });

  it('M6 leave no device when they interrupt a creation', async () => {
    for (let cut = 1; cut < 60; cut += 1) {
      const spare = new TestSpare({ seed: cut });
      try {
        await spare.createSettled();
        spare.powerCut();
        const gone = spare.cutAfter(cut);
        await Promise.race([gone, spare.create()]);
        spare.onOperation = () => {};
        spare.powerCut();
        const outcome = await spare.open().then(
          ({ records, facts }) => ({ records, facts }),
          (error: unknown) => error,
        );
        if (outcome instanceof Error) {
          assert.ok('code' in outcome);
          assert.ok(
            ['METADATA_NOT_A_SPARE', 'METADATA_NO_REPLICA'].includes(String(outcome.code)),
            outcome.message,
          );
        } else {
          assert.deepEqual((outcome as { records: unknown }).records, []);
        }
      } finally {
        await spare.end();
      }
    }
  });
});
