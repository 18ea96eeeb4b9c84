import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../../src/block/errno.ts';
import { CrashModel } from './crash-model.ts';
import {
  commit,
  granules,
  mainSizeBytes,
  properties,
  rejectsWith,
  TestSpare,
  tableOf,
  withSpare,
} from './metadata-fixture.ts';
import { newestSuperblock, wipe } from './spare-surgery.ts';

const policies = (version: number): Record<string, string> => ({ version: String(version) });

describe('M21 updateMainSize', () => {
  it('lets records name what main has grown by, over a crash, on every replica', () =>
    withSpare({ fresh: true }, async (spare) => {
      const device = await spare.createSettled();
      const grown = mainSizeBytes + (8 << 20) + 512;
      await device.store.updateMainSize(grown);
      const last = Math.floor(grown / 4096);
      await commit(device, [granules(last, 300)]);
      spare.powerCut();
      for (const lost of [0, 1]) {
        const image = spare.disk.cachedImage();
        wipe(spare.disk, device.opened.layout.replicas[lost]!.superblockOffset, 8192);
        const { facts, records, layout } = await spare.open();
        assert.equal(facts.mainSizeBytes, grown);
        assert.equal(layout.mainSizeBytes, grown);
        assert.equal(facts.freshSizeBytes, mainSizeBytes, 'R13 what main has grown by is not fresh');
        assert.deepEqual(records, [granules(last, 300)]);
        spare.disk.load(image);
      }
    }));

  it('refuses a smaller main, and changes nothing', () =>
    withSpare({}, async (spare) => {
      const { store } = await spare.createSettled();
      const { writes } = spare.disk.counts;
      await rejectsWith(store.updateMainSize(mainSizeBytes - 4096), 'METADATA_MAIN_SHRUNK');
      assert.equal(spare.disk.counts.writes, writes);
      await store.updateMainSize(mainSizeBytes);
      await store.close();
      assert.equal((await spare.open()).facts.mainSizeBytes, mainSizeBytes);
    }));
});

describe('updateProperties', () => {
  it('M2 M10 is on every in-sync replica when it resolves, and changes nothing that it does not name', () =>
    withSpare({}, async (spare) => {
      const { store, opened } = await spare.createSettled();
      await store.updateProperties({ policies: policies(1) });
      await store.updateProperties({ name: 'renamed' });
      spare.powerCut();
      for (const survivor of [0, 1]) {
        const superblock = newestSuperblock(spare.disk.durableImage, opened.layout, survivor);
        assert.deepEqual(superblock?.shared.properties.properties, {
          ...properties,
          name: 'renamed',
          policies: policies(1),
        });
      }
      wipe(spare.disk, opened.layout.replicas[0]!.superblockOffset, 8192);
      const { facts } = await spare.open();
      assert.deepEqual(facts.properties, { ...properties, name: 'renamed', policies: policies(1) });
    }));

  it('lets both of two changes at the same time take effect', () =>
    withSpare({}, async (spare) => {
      const { store } = await spare.createSettled();
      await Promise.all([
        store.updateProperties({ policies: policies(1) }),
        store.updateProperties({ name: 'renamed' }),
      ]);
      spare.powerCut();
      const { facts } = await spare.open();
      assert.equal(facts.properties.name, 'renamed');
      assert.deepEqual(facts.properties.policies, policies(1));
    }));

  it('refuses what does not fit the superblock, and changes nothing', () =>
    withSpare({}, async (spare) => {
      const { store } = await spare.createSettled();
      const { writes } = spare.disk.counts;
      const tooLong = store.updateProperties({ policies: { note: 'x'.repeat(4000) } });
      await rejectsWith(tooLong, 'METADATA_PROPERTIES_TOO_LARGE');
      assert.equal(spare.disk.counts.writes, writes);
      await store.close();
      assert.deepEqual((await spare.open()).facts.properties, properties);
    }));

  it('M2 takes a replica out whose superblock cannot be written, and succeeds on the others', () =>
    withSpare({}, async (spare) => {
      const { store, opened } = await spare.createSettled();
      spare.disk.faults.addBadSectors(opened.layout.replicas[0]!.superblockOffset / 512, 16, { on: 'both' });
      await store.updateProperties({ policies: policies(1) });
      assert.ok(spare.disk.faults.counts.badSectorWrites > 0);
      assert.equal(store.status().replicasInSync, 1);
      spare.powerCut();
      assert.deepEqual((await spare.open()).facts.properties.policies, policies(1));
    }));

  it('waits for a spare that comes back, and gives up after 15 s with the store still open', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      spare.disk.faults.setPathError(Errno.ENOLINK);
      spare.clock.schedule(5_000, () => spare.disk.faults.setPathError(undefined));
      await device.store.updateProperties({ policies: policies(1) });
      assert.ok(spare.disk.faults.counts.path > 2);
      spare.disk.faults.setPathError(Errno.ENOLINK);
      await rejectsWith(device.store.updateProperties({ policies: policies(2) }), 'METADATA_FAILED');
      spare.disk.faults.setPathError(undefined);
      assert.equal(device.store.state, 'open');
      await commit(device, [granules(1, 300)]);
      await device.store.close();
      const { facts, records } = await spare.open();
      assert.deepEqual(facts.properties.policies, policies(1), 'what was rejected is taken back');
      assert.equal(tableOf(records).granules.size, 1);
    }));

  it('is refused after close', () =>
    withSpare({}, async (spare) => {
      const { store } = await spare.createSettled();
      await store.close();
      await rejectsWith(store.updateProperties({ name: 'late' }), 'METADATA_CLOSED');
    }));

  it('M1 M7 survives power cuts at any moment beside commits, checkpoints and a replica that fails', async () => {
    let acknowledged = 0;
    let cutDuring = 0;
    const story = async (seed: number, cut: number, breakAt: number): Promise<void> => {
      const spare = new TestSpare({ seed });
      try {
        const device = await spare.createSettled();
        const model = new CrashModel(spare.random.fork('model'));
        let promised = 0;
        let asked = 0;
        const change = async (): Promise<void> => {
          while (asked < 12) {
            asked += 1;
            await device.store.updateProperties({ policies: policies(asked) });
            promised = asked;
            if (asked === breakAt) {
              const place = device.opened.layout.replicas[seed & 1]!;
              spare.disk.faults.addBadSectors(place.superblockOffset / 512, 16, { on: 'both' });
            }
          }
        };
        const gone = spare.cutAfter(cut);
        await Promise.race([gone, Promise.all([change(), model.work(device, 30)])]);
        spare.onOperation = () => {};
        spare.powerCut();
        const opened = await spare.open();
        model.check(tableOf(opened.records));
        const found = Number(opened.facts.properties.policies['version'] ?? 0);
        assert.ok(found >= promised && found <= asked, `version ${found}, promised ${promised} of ${asked}`);
        acknowledged += promised;
        if (promised < asked) cutDuring += 1;
      } finally {
        await spare.end();
      }
    };
    await fc.assert(
      fc.asyncProperty(
        fc.integer(),
        fc.integer({ min: 1, max: 500 }),
        fc.integer({ min: 1, max: 20 }),
        story,
      ),
      { numRuns: 60 },
    );
    assert.ok(acknowledged > 100 && cutDuring > 8, `${acknowledged} acknowledged, ${cutDuring} cut`);
  });
});
