import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../../src/block/errno.ts';
import { CrashModel } from './crash-model.ts';
import {
  commit,
  granules,
  type OpenDevice,
  rejectsWith,
  TestSpare,
  tableOf,
  withSpare,
} from './metadata-fixture.ts';
import { newestSuperblock, wipe } from './spare-surgery.ts';

/** Every metadata block of every replica fails with EIO, as when a cable is loose. */
function burst(spare: TestSpare, device: OpenDevice): void {
  for (const { offset, length } of device.opened.layout.reservedRanges()) {
    spare.disk.faults.addBadSectors(offset / 512, length / 512, { on: 'both', readErrno: Errno.EIO });
  }
}

function heal(spare: TestSpare): void {
  spare.disk.faults.removeBadSectors(0, spare.disk.geometry.sizeBytes / 512);
}

describe('a burst of EIO over all replicas', () => {
  it('M1 costs only what was under way when it ends in time', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      await commit(device, [granules(1, 300)]);
      burst(spare, device);
      spare.clock.schedule(5_000, () => heal(spare));
      await rejectsWith(commit(device, [granules(1, 301)]), 'METADATA_NOT_COMMITTED');
      assert.ok(spare.disk.faults.counts.badSectorWrites > 2);
      assert.equal(device.store.state, 'open');
      await commit(device, [granules(2, 302)]);
      await device.store.repairReplicas();
      assert.equal(device.store.status().replicasInSync, 2);
      spare.powerCut();
      assert.deepEqual(tableOf((await spare.open()).records).contents().granules, [
        granules(1, 300),
        granules(2, 302),
      ]);
    }));

  it('M1 is left by recover, on every replica, without the commit in doubt', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      await commit(device, [granules(1, 300)]);
      burst(spare, device);
      await rejectsWith(commit(device, [granules(1, 301)]), 'METADATA_FAILED');
      assert.equal(device.store.state, 'failed');
      await rejectsWith(device.store.recover(), 'METADATA_FAILED');
      assert.equal(device.store.state, 'failed');
      heal(spare);
      await device.store.recover();
      assert.equal(device.store.state, 'open');
      assert.equal(device.store.status().replicasInSync, 2);
      await commit(device, [granules(2, 302)]);
      spare.powerCut();
      for (const survivor of [0, 1]) {
        assert.equal(
          newestSuperblock(spare.disk.durableImage, device.opened.layout, survivor)?.shared.inSyncMask,
          3,
        );
      }
      assert.deepEqual(tableOf((await spare.open()).records).contents().granules, [
        granules(1, 300),
        granules(2, 302),
      ]);
    }));

  it('is nothing to recover from while the store is open', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      const { writes } = spare.disk.counts;
      await device.store.recover();
      assert.equal(spare.disk.counts.writes, writes);
    }));

  it('M1 M2 survives power cuts at any moment of the burst, of recover and after it', async () => {
    let recovered = 0;
    let acknowledgedAfter = 0;
    const story = async (seed: number, cut: number, attempts: number): Promise<void> => {
      const spare = new TestSpare({ seed });
      try {
        const device = await spare.createSettled();
        const model = new CrashModel(spare.random.fork('model'));
        await model.work(device, 10);
        const before = model.acknowledgedCalls;
        const gone = spare.cutAfter(cut);
        const work = async (): Promise<void> => {
          burst(spare, device);
          await model.work(device, 1);
          for (let attempt = 0; attempt < attempts; attempt += 1) {
            if (device.store.state === 'open') break;
            await device.store.recover().catch(() => {});
          }
          heal(spare);
          await device.store.recover();
          recovered += 1;
          model.forgetDoubts();
          await model.work(device, 20);
          acknowledgedAfter += model.acknowledgedCalls - before;
        };
        await Promise.race([gone, work()]);
        spare.onOperation = () => {};
        heal(spare);
        spare.powerCut();
        model.check(tableOf((await spare.open()).records));
      } finally {
        await spare.end();
      }
    };
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.integer({ min: 1, max: 900 }), fc.integer({ min: 0, max: 2 }), story),
      { numRuns: 60 },
    );
    assert.ok(
      recovered > 10 && acknowledgedAfter > 300,
      `${recovered} recovered, ${acknowledgedAfter} after`,
    );
  });
});

describe('M2 a replica that left the set', () => {
  async function loseReplica(spare: TestSpare, victim: number): Promise<OpenDevice> {
    const device = await spare.createSettled();
    const place = device.opened.layout.replicas[victim]!;
    for (const offset of place.journalOffsets) {
      spare.disk.faults.addBadSectors(offset / 512, device.opened.layout.journalBlocks * 8, { on: 'write' });
    }
    await commit(device, [granules(1, 300)]);
    assert.equal(device.store.status().replicasInSync, 1);
    return device;
  }

  it('I25 comes back while the device serves, with everything that was committed meanwhile', () =>
    withSpare({}, async (spare) => {
      const device = await loseReplica(spare, 1);
      await commit(device, [granules(2, 301)]);
      heal(spare);
      const later = Array.from({ length: 30 }, (_, index) =>
        commit(device, [granules(10 + index, 310 + index)]),
      );
      await device.store.repairReplicas();
      await Promise.all(later);
      assert.equal(device.store.status().replicasInSync, 2);
      await commit(device, [granules(3, 302)]);
      spare.powerCut();
      wipe(spare.disk, device.opened.layout.replicas[0]!.superblockOffset, 8192);
      const { records } = await spare.open();
      assert.deepEqual(tableOf(records).contents(), device.table.contents(), 'from the one that came back');
    }));

  it('stays out when its place is still bad, and commits go on', () =>
    withSpare({}, async (spare) => {
      const device = await loseReplica(spare, 0);
      const place = device.opened.layout.replicas[0]!;
      for (const offset of place.areaOffsets) {
        spare.disk.faults.addBadSectors(offset / 512, 8, { on: 'write' });
      }
      const commits = Array.from({ length: 20 }, (_, index) =>
        commit(device, [granules(10 + index, 310 + index)]),
      );
      await Promise.all([device.store.repairReplicas(), ...commits]);
      assert.equal(device.store.status().replicasInSync, 1);
      assert.equal(device.store.state, 'open');
      spare.powerCut();
      assert.deepEqual(tableOf((await spare.open()).records).contents(), device.table.contents());
    }));

  it('is written to its other area when one of the two has gone bad', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      const place = device.opened.layout.replicas[0]!;
      const { area } = newestSuperblock(spare.disk.durableImage, device.opened.layout, 0)!.checkpoint;
      spare.disk.faults.addBadSectors(place.areaOffsets[1 - area]! / 512, 8, { on: 'both' });
      for (let index = 0; index < 12; index += 1) await commit(device, [granules(index, 300 + index)]);
      while (device.store.status().checkpointRunning) await commit(device, [granules(40, 340)]);
      assert.equal(device.store.status().replicasInSync, 1);
      await device.store.repairReplicas();
      assert.equal(device.store.status().replicasInSync, 2);
    }));

  it('survives power cuts at any moment, also with the other replica destroyed once it is back', async () => {
    let back = 0;
    const story = async (seed: number, cut: number, victim: number): Promise<void> => {
      const spare = new TestSpare({ seed });
      try {
        const device = await loseReplica(spare, victim);
        const model = new CrashModel(spare.random.fork('model'));
        heal(spare);
        await commit(device, [granules(1, -1)]);
        const gone = spare.cutAfter(cut);
        let repaired = false;
        const repair = device.store.repairReplicas().then(() => {
          repaired = device.store.status().replicasInSync === 2;
        });
        await Promise.race([gone, Promise.all([repair, model.work(device, 25)])]);
        spare.onOperation = () => {};
        spare.powerCut();
        if (repaired) {
          back += 1;
          wipe(spare.disk, device.opened.layout.replicas[1 - victim]!.superblockOffset, 8192);
        }
        model.check(tableOf((await spare.open()).records));
      } finally {
        await spare.end();
      }
    };
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.integer({ min: 1, max: 400 }), fc.integer({ min: 0, max: 1 }), story),
      { numRuns: 60 },
    );
    assert.ok(back > 15, `only ${back} came back`);
  });
});
