import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { noSlot, StateFlags } from '../../src/metadata/mapping-state.ts';
import { MetadataStore } from '../../src/metadata/metadata-store.ts';
import { OperationCounter } from '../../src/simulator/operation-counter.ts';
import { RecordingDevice } from '../../src/simulator/recording-device.ts';
import {
  commit,
  granuleBytes,
  granules,
  mainSizeBytes,
  properties,
  rejectsWith,
  TestTable,
  tableOf,
  withSpare,
} from './metadata-fixture.ts';

describe('a created spare', () => {
  it('opens empty, with all facts it was created with', () =>
    withSpare({}, async (spare) => {
      await spare.create();
      const { facts, records, report, layout, store } = await spare.open();
      assert.deepEqual(records, []);
      assert.match(facts.uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      assert.equal(facts.mainSizeBytes, mainSizeBytes);
      assert.equal(facts.granuleBytes, granuleBytes);
      assert.equal(facts.logicalBlockBytes, 512);
      assert.deepEqual(facts.properties, properties);
      assert.equal(facts.cleanlyClosed, true);
      assert.equal(report.replicasValid, 2);
      assert.equal(report.replicasTotal, 2);
      assert.equal(layout.spareSizeBytes, 3 << 20);
      assert.equal(store.state, 'unsettled');
    }));

  it('M5 is not written to by open: examine changes nothing', () =>
    withSpare({}, async (spare) => {
      await spare.create();
      const before = spare.disk.cachedImage();
      const { writes, flushes } = spare.disk.counts;
      await spare.open();
      assert.equal(spare.disk.counts.writes, writes);
      assert.equal(spare.disk.counts.flushes, flushes);
      assert.deepEqual(spare.disk.cachedImage(), before);
    }));

  it('M13 opens read-only as it is, and is not written to', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      await commit(device, [granules(5, 300)]);
      spare.kill();
      const { writes, flushes } = spare.disk.counts;
      const read = await MetadataStore.openReadOnly(spare.parts());
      assert.deepEqual(read.records, [granules(5, 300)]);
      assert.equal(read.facts.properties.name, properties.name);
      assert.equal('store' in read, false);
      assert.deepEqual([spare.disk.counts.writes, spare.disk.counts.flushes], [writes, flushes]);
    }));

  it('M6 has another UUID than the device that was there, of which nothing is left', () =>
    withSpare({}, async (spare) => {
      const first = await spare.createSettled();
      await commit(first, [granules(5, 300)]);
      await first.store.close();
      await spare.create();
      const second = await spare.open();
      assert.notEqual(second.facts.uuid, first.opened.facts.uuid);
      assert.deepEqual(second.records, []);
    }));
});

describe('a store', () => {
  it('keeps what is committed, over any number of sessions', () =>
    withSpare({}, async (spare) => {
      await spare.create();
      const expected = new TestTable();
      for (let session = 0; session < 4; session += 1) {
        const device = await spare.openSettled();
        assert.deepEqual(device.table.contents(), expected.contents());
        assert.equal(device.opened.facts.cleanlyClosed, true);
        for (let index = 0; index < 30; index += 1) {
          const records = [granules(session * 100 + index, 200 + session * 50 + index)];
          await commit(device, records);
          expected.apply(records);
        }
        await commit(device, [{ type: 'retired-slots', slot: 190 + session, slotCount: 1 }]);
        expected.retired.add(190 + session);
        await device.store.close();
        assert.equal(device.store.state, 'closed');
        assert.equal(spare.arenaUsedBytes, 0);
      }
    }));

  it('keeps every field of a record', () =>
    withSpare({}, async (spare) => {
      const records = [
        granules(1, 400, {
          held: 0x81,
          gone: 0x02,
          flags: StateFlags.unverified,
          unixSeconds: 4_000_000_000,
        }),
        granules(2, noSlot, { unreadable: 0xf0, cause: 2 }),
        granules(3, noSlot, { unreadable: 1, gone: 0x0e, flags: StateFlags.suspect, cause: 5 }),
      ];
      const device = await spare.createSettled();
      await commit(device, records);
      spare.kill();
      assert.deepEqual((await spare.open()).records, records, 'from the journal');
      const again = await spare.openSettled();
      await again.store.close();
      assert.deepEqual((await spare.open()).records, records, 'from a checkpoint');
    }));

  it('forgets a granule that is healthy again', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      await commit(device, [granules(7, 300)]);
      await commit(device, [granules(7, noSlot)]);
      spare.kill();
      assert.deepEqual(tableOf((await spare.open()).records).contents().granules, []);
    }));

  it('takes new properties with settle', () =>
    withSpare({}, async (spare) => {
      await spare.create();
      const { store } = await spare.open();
      const changed = { ...properties, mainIdentity: { ...properties.mainIdentity, path: '/dev/sdz' } };
      await store.settle(new TestTable(), { properties: changed });
      spare.kill();
      assert.deepEqual((await spare.open()).facts.properties, changed);
    }));

  it('says that a session did not end with close', () =>
    withSpare({}, async (spare) => {
      await spare.createSettled();
      spare.kill();
      assert.equal((await spare.open()).facts.cleanlyClosed, false);
    }));

  it('refuses commits after close, and closes twice', () =>
    withSpare({}, async (spare) => {
      const { store } = await spare.createSettled();
      await Promise.all([store.close(), store.close()]);
      await rejectsWith(store.commit([granules(1, 300)]), 'METADATA_CLOSED');
    }));

  it('closes after the commits that were there before', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      const commits = Array.from({ length: 40 }, (_, index) =>
        commit(device, [granules(index, 300 + index)]),
      );
      await device.store.close();
      await Promise.all(commits);
      const { records, facts } = await spare.open();
      assert.equal(tableOf(records).granules.size, 40);
      assert.equal(facts.cleanlyClosed, true);
    }));

  it('gives the records to a sink, beginning once', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      await commit(device, [granules(1, 300), granules(2, 301)]);
      spare.kill();
      const table = new TestTable();
      let begun = 0;
      const sink = {
        begin: () => {
          begun += 1;
        },
        add: table.apply.bind(table),
      };
      const { records } = await MetadataStore.open(spare.parts(), { sink });
      assert.deepEqual(records, []);
      assert.equal(begun, 1);
      assert.deepEqual(table.contents(), device.table.contents());
    }));
});

describe('M19 group commit', () => {
  it('costs one lone commit two flushes and one block for each replica', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      const before = { ...spare.disk.counts };
      await commit(device, [granules(1, 300)]);
      assert.equal(spare.disk.counts.flushes - before.flushes, 2);
      assert.equal(spare.disk.counts.writes - before.writes, 2);
      assert.equal(spare.disk.counts.bytesWritten - before.bytesWritten, 2 * 4096);
    }));

  it('costs no flush more with three replicas', () =>
    withSpare({ sizeBytes: 70 << 20 }, async (spare) => {
      const device = await spare.createSettled();
      const before = { ...spare.disk.counts };
      await commit(device, [granules(1, 3000)]);
      assert.equal(spare.disk.counts.flushes - before.flushes, 2);
      assert.equal(spare.disk.counts.writes - before.writes, 3);
    }));

  it('costs one flush when the record names no new data', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      const before = { ...spare.disk.counts };
      await device.store.commit([granules(1, noSlot, { unreadable: 1 })], { dataFlush: false });
      assert.equal(spare.disk.counts.flushes - before.flushes, 1);
      assert.equal(spare.disk.counts.writes - before.writes, 2);
    }));

  it('writes 100 concurrent commits with three flushes and two batches', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      const before = { ...spare.disk.counts };
      await Promise.all(
        Array.from({ length: 100 }, (_, index) => commit(device, [granules(index, 300 + index)])),
      );
      assert.equal(spare.disk.counts.flushes - before.flushes, 3);
      assert.equal(spare.disk.counts.writes - before.writes, 4);
      assert.equal(device.store.status().batches, 2);
      assert.equal(device.store.status().commits, 100);
      spare.powerCut();
      assert.equal(tableOf((await spare.open()).records).granules.size, 100);
    }));

  it('orders data write, flush, record on all replicas, flush, activation', () =>
    withSpare({}, async (spare) => {
      await spare.create();
      let recorder: RecordingDevice | undefined;
      const device = await spare.openSettled({
        wrap: (below) => {
          recorder = new RecordingDevice(below, new OperationCounter());
          return recorder;
        },
      });
      assert.ok(recorder !== undefined);
      const start = recorder.operations.length;
      const data = new Uint8Array(4096).fill(7);
      await recorder.write(data, 300 * 4096);
      let settledAtActivation = -1;
      const seen = recorder.operations;
      await device.store.commit([granules(1, 300)], {
        activate: () => {
          settledAtActivation = seen.length;
        },
      });
      const story = seen.slice(start).map(({ kind, phase }) => `${kind} ${phase}`);
      assert.deepEqual(story, [
        'write submit',
        'write settle',
        'flush submit',
        'flush settle',
        'write submit',
        'write submit',
        'write settle',
        'write settle',
        'flush submit',
        'flush settle',
      ]);
      assert.equal(settledAtActivation, seen.length);
    }));

  it('R22 shares a flush that is not yet submitted, never one that is', () =>
    withSpare({}, async (spare) => {
      const { store } = await spare.createSettled();
      const before = spare.disk.counts.flushes;
      await Promise.all([store.flushSpare(), store.flushSpare(), store.flushSpare()]);
      assert.equal(spare.disk.counts.flushes - before, 2);
    }));

  it('keeps the records of one call in one block', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      const first = Array.from({ length: 50 }, (_, index) => granules(index, 300 + index));
      const second = Array.from({ length: 50 }, (_, index) => granules(100 + index, 400 + index));
      const before = spare.disk.counts.bytesWritten;
      await Promise.all([
        device.store.commit(first, { dataFlush: false }),
        device.store.commit(second, { dataFlush: false }),
        device.store.commit(second, { dataFlush: false }),
      ]);
      // The first alone, then two that do not share a block.
      assert.equal(spare.disk.counts.bytesWritten - before, 2 * 3 * 4096);
    }));

  it('takes as many records in one call as it says', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      const count = device.store.recordsPerCommitMax;
      await commit(
        device,
        Array.from({ length: count }, (_, index) => granules(index, noSlot, { unreadable: 1 })),
      );
      spare.powerCut();
      assert.equal(tableOf((await spare.open()).records).granules.size, count);
      const over = Array.from({ length: count + 1 }, (_, index) => granules(index, noSlot, { gone: 1 }));
      assert.throws(() => device.store.commit(over), /1 to max/);
    }));
});

describe('M8 checkpoints', () => {
  it('keep the journal from filling, and commits never fail', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      for (let index = 0; index < 200; index += 1)
        await commit(device, [granules(index % 50, 300 + (index % 50))]);
      const status = device.store.status();
      assert.ok(status.checkpoints >= 10, `${status.checkpoints} checkpoints`);
      assert.equal(status.checkpointsFailed, 0);
      assert.equal(status.commits, 200);
      await device.store.close();
      assert.deepEqual(tableOf((await spare.open()).records).contents(), device.table.contents());
    }));

  it('hold a table of several pieces', () =>
    withSpare(
      { sizeBytes: 24 << 20, layout: { lostRangesMax: 4000, journalBytes: 64 * 4096, slotsMin: 16 } },
      async (spare) => {
        const device = await spare.createSettled();
        for (let first = 0; first < 3600; first += 80) {
          await commit(
            device,
            Array.from({ length: 80 }, (_, index) =>
              granules(2 * (first + index), noSlot, { unreadable: 3 }),
            ),
          );
        }
        await device.store.close();
        const opened = await spare.open();
        assert.deepEqual(tableOf(opened.records).contents(), device.table.contents());
        const again = await spare.openSettled();
        await again.store.close();
        const { report, records } = await spare.open();
        assert.equal(report.checkpointRecords, 3600);
        assert.equal(report.journalRecords, 0);
        assert.deepEqual(tableOf(records).contents(), device.table.contents());
      },
    ));
});
