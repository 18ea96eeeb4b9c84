import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Errno } from '../../src/block/errno.ts';
import { ScrubBench } from '../scrub/scrub-bench.ts';

const blockBytes = 4096;

/** A device with records in its checkpoint, and more of them in its journal. */
async function benchWithRecords(): Promise<ScrubBench> {
  const bench = await ScrubBench.create();
  await bench.message('remap', '800', '64');
  await bench.close();
  await bench.open();
  await bench.message('remap', '1600', '64');
  return bench;
}

function recordsOf(bench: ScrubBench): Promise<string> {
  return bench.message('list');
}

describe('I25 replicas that are read again', () => {
  const parts = ['superblock', 'checkpoint', 'journal'] as const;
  for (const part of parts) {
    for (const index of [0, 1]) {
      for (const how of ['overwritten', 'unreadable'] as const) {
        it(`find a ${part} of replica ${index} that was ${how}, and write it anew`, async () => {
          const bench = await benchWithRecords();
          const { store, layout } = bench.now.metadata;
          const place = layout.replicas[index]!;
          assert.deepEqual(await bench.clock.run(store.verifyReplicas()), {
            checked: 2,
            bad: 0,
            repaired: 0,
          });
          const offsets = {
            superblock: [place.superblockOffset, place.superblockOffset + blockBytes],
            checkpoint: place.areaOffsets,
            journal: place.journalOffsets,
          }[part];
          for (const offset of offsets) {
            if (how === 'overwritten') bench.spareDisk.load(Buffer.alloc(blockBytes, 0xa5), offset);
            else bench.spareDisk.faults.addBadSectors(offset / 512, 1, { on: 'read', healOnWrite: true });
          }
          const list = await recordsOf(bench);
          assert.deepEqual(await bench.clock.run(store.verifyReplicas()), {
            checked: 2,
            bad: 1,
            repaired: 1,
          });
          assert.deepEqual(await bench.clock.run(store.verifyReplicas()), {
            checked: 2,
            bad: 0,
            repaired: 0,
          });
          assert.equal(bench.now.device.status().metadata.replicasInSync, 2);
          await bench.close();
          await bench.open();
          assert.equal(await recordsOf(bench), list, 'and the next process finds every record');
          await bench.close();
        });
      }
    }
  }

  it('say nothing wrong of replicas that are being written meanwhile', async () => {
    const bench = await benchWithRecords();
    const { store } = bench.now.metadata;
    const writing = (async () => {
      for (let sector = 2000; sector < 6000; sector += 8)
        await bench.now.device.message(['remap', `${sector}`]);
    })();
    const looking = (async () => {
      for (let look = 0; look < 30; look += 1) {
        const { bad } = await store.verifyReplicas();
        assert.equal(bad, 0);
        await store.updateProperties({ policies: { 'path-timeout': String(look) } });
      }
    })();
    await bench.clock.run(Promise.all([writing, looking]));
    await bench.close();
  });

  it('are all taken in again when an outage had cost each its place, without a record to store', async () => {
    const bench = await benchWithRecords();
    const { store } = bench.now.metadata;
    const list = await recordsOf(bench);
    bench.spareDisk.faults.setPathError(Errno.EIO);
    await assert.rejects(bench.clock.run(store.updateProperties({ policies: { 'path-timeout': '3' } })));
    assert.equal(store.status().replicasInSync, 0);
    await assert.rejects(bench.clock.run(store.verifyReplicas()), { message: /no replica/ });
    bench.spareDisk.faults.setPathError(undefined);
    assert.deepEqual(await bench.clock.run(store.verifyReplicas()), { checked: 2, bad: 0, repaired: 0 });
    assert.equal(store.status().replicasInSync, 2);
    bench.end('power');
    await bench.open();
    assert.equal(await recordsOf(bench), list);
    await bench.close();
  });

  it('are also taken in by the repair that a process does from time to time', async () => {
    const bench = await benchWithRecords();
    const { store } = bench.now.metadata;
    bench.spareDisk.faults.setPathError(Errno.EIO);
    await assert.rejects(bench.clock.run(store.updateProperties({ policies: {} })));
    await bench.clock.run(store.repairReplicas());
    assert.equal(store.status().replicasInSync, 0, 'the spare is still away');
    bench.spareDisk.faults.setPathError(undefined);
    await bench.clock.run(store.repairReplicas());
    assert.equal(store.status().replicasInSync, 2);
    await bench.close();
  });
});
