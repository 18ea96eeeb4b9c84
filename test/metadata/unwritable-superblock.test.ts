import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  commit,
  granules,
  type OpenDevice,
  rejectsWith,
  type TestSpare,
  withSpare,
} from './metadata-fixture.ts';
import { newestSuperblock, wipe } from './spare-surgery.ts';

/** A superblock slot of replica 1 can be read, and cannot be written any more. */
function breakSlots(spare: TestSpare, device: OpenDevice, slots: readonly number[]): void {
  for (const slot of slots) {
    const offset = device.opened.layout.replicas[1]!.superblockOffset + slot * 4096;
    spare.disk.faults.addBadSectors(offset / 512, 8, { on: 'write' });
  }
}

function mend(spare: TestSpare): void {
  spare.disk.faults.removeBadSectors(0, (3 << 20) / 512);
}

function loseFirstReplica(spare: TestSpare, device: OpenDevice): void {
  wipe(spare.disk, device.opened.layout.replicas[0]!.superblockOffset, 8192);
}

describe('M2 a replica whose superblock can be read and not be overwritten', () => {
  for (const slots of [[0], [1], [0, 1]]) {
    const which = `slot ${slots.join(' and ')}`;

    it(`does not keep the device from opening, ${which}, and is not opened by itself afterwards`, () =>
      withSpare({}, async (spare) => {
        const first = await spare.createSettled();
        await commit(first, [granules(1, 300)]);
        await first.store.close();
        breakSlots(spare, first, slots);
        const second = await spare.openSettled();
        assert.ok(spare.disk.faults.counts.badSectorWrites > 0);
        assert.equal(second.store.status().replicasInSync, 1);
        await commit(second, [granules(1, 301)]);
        spare.powerCut();
        assert.ok(newestSuperblock(spare.disk.durableImage, first.opened.layout, 1), 'it is still there');
        const { records } = await spare.open();
        assert.deepEqual(records.at(-1), granules(1, 301));
        loseFirstReplica(spare, first);
        await rejectsWith(spare.open(), 'METADATA_GAP');
      }));

    it(`loses it while it serves, ${which}, before the acknowledgement`, () =>
      withSpare({}, async (spare) => {
        const device = await spare.createSettled();
        await commit(device, [granules(1, 300)]);
        breakSlots(spare, device, slots);
        for (const round of ['one', 'two']) {
          await device.store.updateProperties({ policies: { 'on-spare-full': round } });
        }
        await commit(device, [granules(1, 301)]);
        assert.equal(device.store.status().replicasInSync, 1);
        spare.powerCut();
        const { records } = await spare.open();
        assert.deepEqual(records.at(-1), granules(1, 301));
        loseFirstReplica(spare, device);
        await rejectsWith(spare.open(), 'METADATA_GAP');
      }));
  }

  it('is a member again when a later session can write it, and is then opened by itself', () =>
    withSpare({}, async (spare) => {
      const first = await spare.createSettled();
      breakSlots(spare, first, [0, 1]);
      await first.store.updateProperties({ policies: {} });
      await commit(first, [granules(1, 300)]);
      assert.equal(first.store.status().replicasInSync, 1);
      spare.powerCut();
      const second = await spare.openSettled();
      await commit(second, [granules(2, 301)]);
      spare.powerCut();
      mend(spare);
      const third = await spare.openSettled();
      assert.equal(third.store.status().replicasInSync, 2);
      await commit(third, [granules(3, 302)]);
      spare.powerCut();
      const { report } = await spare.open();
      assert.equal(report.replicasValid, 2);
      loseFirstReplica(spare, first);
      const { records } = await spare.open();
      assert.deepEqual(records, [granules(1, 300), granules(2, 301), granules(3, 302)]);
    }));

  it('is not taken in again by the session that it left', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      breakSlots(spare, device, [0, 1]);
      await device.store.updateProperties({ policies: {} });
      mend(spare);
      await device.store.repairReplicas();
      assert.equal(device.store.status().replicasInSync, 1);
      await commit(device, [granules(1, 300)]);
      await device.store.close();
      const { records } = await spare.open();
      assert.deepEqual(records.at(-1), granules(1, 300));
    }));

  it('stops the commits as long as no block of its journals can be written either', () =>
    withSpare({}, async (spare) => {
      const first = await spare.createSettled();
      await commit(first, [granules(1, 300)]);
      await first.store.close();
      breakSlots(spare, first, [0, 1]);
      const { journalBlocks, replicas } = first.opened.layout;
      for (const offset of replicas[1]!.journalOffsets) {
        spare.disk.faults.addBadSectors(offset / 512, journalBlocks * 8, { on: 'write' });
      }
      await rejectsWith(spare.openSettled(), 'METADATA_SETTLE_FAILED');
      assert.deepEqual((await spare.open()).records.at(-1), granules(1, 300));
    }));
});
