import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { commit, granules, smallLayout, tableOf, withSpare } from './metadata-fixture.ts';

describe('M8 a storm of 10 000 commits', () => {
  it('waits for checkpoints and never fails, all at once and over a journal of 16 blocks', () =>
    withSpare({ seed: 'storm' }, async (spare) => {
      const device = await spare.createSettled();
      const before = { ...spare.disk.counts };
      const answers = Array.from({ length: 10_000 }, (_, index) =>
        commit(device, [granules(index % 500, 300 + (index % 100), { unixSeconds: index })]),
      );
      let usedMax = 0;
      let waiting = answers.length;
      for (const answer of answers) {
        void answer.then(() => {
          waiting -= 1;
          usedMax = Math.max(usedMax, device.store.status().journalBlocksUsed);
        });
      }
      await Promise.all(answers);
      assert.equal(waiting, 0);
      const { commits, batches, checkpoints, checkpointsFailed, journalBlocks } = device.store.status();
      assert.equal(commits, 10_000);
      assert.equal(checkpointsFailed, 0);
      assert.ok(usedMax <= journalBlocks, `${usedMax} blocks used`);
      // A batch takes at most a quarter of the journal: 4 blocks of 83 records.
      assert.ok(batches <= Math.ceil(10_000 / (4 * 83)) + 1, `${batches} batches`);
      assert.ok(checkpoints >= batches / 4 - 1, `${checkpoints} checkpoints for ${batches} batches`);
      // A batch is one flush, a checkpoint two for each of the two replicas; the first data flush, and one more of it.
      const flushes = spare.disk.counts.flushes - before.flushes;
      assert.ok(flushes <= batches + 4 * (checkpoints + 1) + 2, `${flushes} flushes`);
      spare.powerCut();
      assert.deepEqual(tableOf((await spare.open()).records).contents(), device.table.contents());
    }));

  it('starts a checkpoint when half of the journal is used, not before', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      const { journalBlocks } = device.opened.layout;
      for (let block = 1; block <= journalBlocks / 2; block += 1) {
        assert.equal(device.store.status().checkpointRunning, false, `before block ${block}`);
        await commit(device, [granules(block, 300 + block)]);
      }
      assert.equal(device.store.status().checkpointRunning, true);
      await device.store.close();
      assert.equal(device.store.status().checkpoints, 1);
    }));

  it('M18 writes the checkpoint with no commit beside it when the table outruns the pass', () =>
    withSpare(
      { seed: 'outrun', sizeBytes: 16 << 20, layout: { ...smallLayout, lostRangesMax: 12_000 } },
      async (spare) => {
        const device = await spare.createSettled();
        const { table, store, opened } = device;
        // More than one piece, so that a pass takes time.
        const lost = Array.from({ length: 10_000 }, (_, index) => granules(5000 + index, -1, { gone: 1 }));
        for (let from = 0; from < lost.length; from += 80) await commit(device, lost.slice(from, from + 80));
        while (store.status().checkpointRunning) await store.flushSpare();
        // As a table whose granules move in front of the pass again and again: it gives more records than an area has room for.
        const room = opened.layout.areaBlocks * 83;
        const recordsAfter = table.recordsAfter.bind(table);
        let passes = 0;
        let committedAtStart = 0;
        const committedBeside: number[] = [];
        table.recordsAfter = (cursor, limit) => {
          const { commits } = store.status();
          if (cursor.section === 'granules' && cursor.next === 0) {
            passes += 1;
            committedAtStart = commits;
          }
          if (cursor.section === 'fresh-ended') committedBeside[passes] = commits - committedAtStart;
          if (passes !== 1 || cursor.section !== 'granules') return recordsAfter(cursor, limit);
          const records = Array.from({ length: limit }, (_, index) =>
            granules((cursor.next + index) % 900, -1),
          );
          const next = cursor.next + limit;
          return {
            records,
            cursor: next > room ? { section: 'retired-slots', next: 0 } : { section: 'granules', next },
          };
        };
        const clients = Array.from({ length: 3 }, async (_, client) => {
          for (let index = 0; index < 40; index += 1) {
            await commit(device, [granules(100 * client + index, 300 + 50 * client + index)]);
          }
        });
        await Promise.all(clients);
        const { checkpoints, checkpointsFailed, state } = store.status();
        assert.equal(checkpointsFailed, 1);
        assert.ok(checkpoints >= 1 && passes >= 2);
        assert.equal(committedBeside[2], 0, 'nothing was committed beside the second pass');
        assert.equal(state, 'open');
        spare.powerCut();
        assert.equal(tableOf((await spare.open()).records).granules.size, 10_120);
      },
    ));
});
