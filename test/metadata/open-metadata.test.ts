import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { SpareLayout } from '../../src/metadata/layout.ts';
import { MetadataError } from '../../src/metadata/metadata-error.ts';
import { OperationCounter } from '../../src/simulator/operation-counter.ts';
import { type RecordedOperation, RecordingDevice } from '../../src/simulator/recording-device.ts';
import {
  commit,
  granules,
  type OpenDevice,
  rejectsWith,
  type TestSpare,
  tableOf,
  withSpare,
} from './metadata-fixture.ts';
import { editSuperblocks, journalBlocks, newestSuperblock, wipe } from './spare-surgery.ts';

function uuidOf(spare: TestSpare, layout: SpareLayout): Uint8Array {
  return newestSuperblock(spare.disk.durableImage, layout, 0)!.shared.uuid;
}

/** Five lone commits, then the power goes. */
async function fiveCommits(spare: TestSpare): Promise<SpareLayout> {
  const device = await spare.createSettled();
  for (let index = 1; index <= 5; index += 1) await commit(device, [granules(index, 300 + index)]);
  spare.powerCut();
  return device.opened.layout;
}

function wipeJournalBlock(
  spare: TestSpare,
  layout: SpareLayout,
  sequence: number,
  replicas: readonly number[],
): void {
  let wiped = 0;
  for (const block of journalBlocks(spare.disk.durableImage, layout, uuidOf(spare, layout))) {
    if (block.header.sequence !== sequence || !replicas.includes(block.replica)) continue;
    wipe(spare.disk, block.offset);
    wiped += 1;
  }
  assert.equal(wiped, replicas.length);
}

describe('M4 open', () => {
  it('takes each journal block from any replica', () =>
    withSpare({}, async (spare) => {
      const layout = await fiveCommits(spare);
      wipeJournalBlock(spare, layout, 1, [0]);
      wipeJournalBlock(spare, layout, 2, [1]);
      wipeJournalBlock(spare, layout, 5, [0]);
      const { records, report } = await spare.open();
      assert.equal(tableOf(records).granules.size, 5);
      assert.equal(report.blocksRepaired, 3);
    }));

  it('refuses a block that nobody has while later ones are there', () =>
    withSpare({}, async (spare) => {
      const layout = await fiveCommits(spare);
      wipeJournalBlock(spare, layout, 3, [0, 1]);
      const error = await rejectsWith(spare.open(), 'METADATA_GAP');
      assert.match(error.message, /no block 3 .* --force/);
    }));

  it('refuses when all journals are gone after a clean close, for the superblock says how far they went', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      await commit(device, [granules(1, 300)]);
      await device.store.close();
      const { layout } = device.opened;
      for (const place of layout.replicas) {
        for (const offset of place.journalOffsets) wipe(spare.disk, offset, layout.journalBlocks * 4096);
      }
      await rejectsWith(spare.open(), 'METADATA_GAP');
      wipe(spare.disk, layout.replicas[0]!.superblockOffset, 8192);
      await rejectsWith(spare.open(), 'METADATA_GAP');
      const { records, report } = await spare.open({ force: true });
      assert.deepEqual(records, []);
      assert.equal(report.forced, true);
    }));

  it('gives what is left behind a gap with force', () =>
    withSpare({}, async (spare) => {
      const layout = await fiveCommits(spare);
      wipeJournalBlock(spare, layout, 3, [0, 1]);
      const opened = await spare.open({ force: true });
      assert.equal(opened.report.forced, true);
      assert.deepEqual([...tableOf(opened.records).granules.keys()], [1, 2, 4, 5]);
      await opened.store.settle(tableOf(opened.records));
      spare.powerCut();
      assert.equal(tableOf((await spare.open()).records).granules.size, 4);
    }));

  it('ends where nobody has a block: a lone last one is a commit that was not acknowledged', () =>
    withSpare({}, async (spare) => {
      const layout = await fiveCommits(spare);
      wipeJournalBlock(spare, layout, 5, [0, 1]);
      assert.equal(tableOf((await spare.open()).records).granules.size, 4);
    }));

  it('takes a batch that was torn in its middle for unfinished, not for a gap', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      await commit(device, [granules(1, 300)]);
      const batch = Array.from({ length: 100 }, (_, index) => granules(10 + index, 310 + index));
      await commit(device, batch);
      spare.powerCut();
      const { layout } = device.opened;
      // Of the two blocks of the batch the first never arrived.
      wipeJournalBlock(spare, layout, 2, [0, 1]);
      const again = await spare.openSettled();
      assert.deepEqual([...again.table.granules.keys()], [1]);
      await commit(again, [granules(2, 301)]);
      const sequences = journalBlocks(spare.disk.cachedImage(), layout, uuidOf(spare, layout)).map(
        ({ header }) => header.sequence,
      );
      assert.equal(Math.max(...sequences), 4, 'the numbers of the torn batch are not given again');
      spare.powerCut();
      assert.deepEqual([...tableOf((await spare.open()).records).granules.keys()], [1, 2]);
    }));

  it('takes each checkpoint block from any replica', () =>
    withSpare({ sizeBytes: 24 << 20 }, async (spare) => {
      const device = await spare.createSettled();
      const records = Array.from({ length: 160 }, (_, index) => granules(2 * index, 2000 + 2 * index));
      for (let part = 0; part < 8; part += 1) {
        await commit(
          device,
          records.map((record) => ({
            ...record,
            granule: record.granule + part * 400,
            slot: record.slot + part * 400,
          })),
        );
      }
      await device.store.close();
      const again = await spare.openSettled();
      await again.store.close();
      const { layout } = device.opened;
      const newest = [0, 1].map((replica) => newestSuperblock(spare.disk.durableImage, layout, replica)!);
      const { blockCount, area } = newest[0]!.checkpoint;
      assert.ok(blockCount > 10);
      for (let block = 0; block < blockCount; block += 1) {
        const offset = layout.replicas[block & 1]!.areaOffsets[area] + block * 4096;
        if (block % 4 < 2) spare.disk.faults.addBadSectors(offset / 512 + 3, 1, { on: 'read' });
        else wipe(spare.disk, offset);
      }
      const opened = await spare.open();
      assert.ok(spare.disk.faults.counts.badSectorReads > 0);
      assert.deepEqual(tableOf(opened.records).contents(), device.table.contents());
      assert.ok(opened.report.blocksRepaired > 0);
    }));

  it('opens the other replica when the newest checkpoint of one is gone', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      for (let index = 0; index < 40; index += 1) await commit(device, [granules(index, 300 + index)]);
      spare.powerCut();
      const { layout } = device.opened;
      const { area } = newestSuperblock(spare.disk.durableImage, layout, 0)!.checkpoint;
      wipe(spare.disk, layout.replicas[0]!.areaOffsets[area], layout.areaBlocks * 4096);
      assert.deepEqual(tableOf((await spare.open()).records).contents(), device.table.contents());
    }));
});

describe('M5 settle', () => {
  it('repairs every replica, and says before what was wrong', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      await commit(device, [granules(1, 300)]);
      await device.store.close();
      const { layout } = device.opened;
      wipe(spare.disk, layout.replicas[0]!.superblockOffset, 8192);
      const again = await spare.openSettled();
      assert.equal(again.opened.report.replicasValid, 1);
      assert.equal(again.opened.report.replicas[0]!.condition, 'damaged');
      spare.powerCut();
      wipe(spare.disk, layout.replicas[1]!.superblockOffset, 8192);
      const third = await spare.open();
      assert.deepEqual(third.records, [granules(1, 300)]);
    }));

  it('leaves no superblock of an older generation', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      for (let index = 0; index < 20; index += 1) await commit(device, [granules(index, 300 + index)]);
      spare.powerCut();
      const again = await spare.openSettled();
      const generations = new Set<number>();
      editSuperblocks(spare.disk, device.opened.layout, (view) => generations.add(view.getUint32(56, true)));
      assert.deepEqual([...generations], [again.store.status().generation]);
    }));
});

describe('open refuses', () => {
  it('a device that is no spare', () =>
    withSpare({}, async (spare) => {
      const error = await rejectsWith(spare.open(), 'METADATA_NOT_A_SPARE');
      assert.match(error.message, /not a dm-remap spare/);
    }));

  it('M10 a newer format and an unknown incompatible feature', () =>
    withSpare({}, async (spare) => {
      const layout = await fiveCommits(spare);
      editSuperblocks(spare.disk, layout, (view) => view.setUint32(40, 8, true));
      await rejectsWith(spare.open(), 'METADATA_UNKNOWN_FEATURE');
    }));

  it('M10 a newer format', () =>
    withSpare({}, async (spare) => {
      const layout = await fiveCommits(spare);
      editSuperblocks(spare.disk, layout, (view) => view.setUint16(12, 2, true));
      await rejectsWith(spare.open(), 'METADATA_NEWER_FORMAT');
    }));

  it('M10 to write with an unknown read-only feature, and reads', () =>
    withSpare({}, async (spare) => {
      const layout = await fiveCommits(spare);
      editSuperblocks(spare.disk, layout, (view) => view.setUint32(36, 2, true));
      const { store, records } = await spare.open();
      assert.equal(records.length, 5);
      await rejectsWith(store.settle(tableOf(records)), 'METADATA_UNKNOWN_FEATURE');
    }));

  it('M10 M15 nothing for an unknown compatible feature or property, and keeps them', () =>
    withSpare({}, async (spare) => {
      const layout = await fiveCommits(spare);
      editSuperblocks(spare.disk, layout, (view) => {
        view.setUint32(32, 2, true);
        const end = 384 + view.getUint32(164, true);
        view.setUint16(end, 0x7777, true);
        view.setUint16(end + 2, 3, true);
        view.setUint32(end + 4, 0x00c0ffee, true);
        view.setUint32(164, view.getUint32(164, true) + 8, true);
      });
      const { store, records } = await spare.open();
      await store.settle(tableOf(records));
      await store.close();
      const { shared } = newestSuperblock(spare.disk.durableImage, layout, 0)!;
      assert.equal(shared.features.compatible, 2);
      assert.deepEqual(shared.properties.unknown, [{ type: 0x7777, value: Uint8Array.of(0xee, 0xff, 0xc0) }]);
    }));

  it('M14 a spare that became smaller', () =>
    withSpare({}, async (spare) => {
      const layout = await fiveCommits(spare);
      editSuperblocks(spare.disk, layout, (view) => view.setUint32(120, (4 << 20) / 512, true));
      const error = await rejectsWith(spare.open(), 'METADATA_SPARE_SHRUNK');
      assert.match(error.message, /has 3145728 bytes, expected at least 4194304/);
    }));

  it('superblocks of two devices', () =>
    withSpare({}, async (spare) => {
      const layout = await fiveCommits(spare);
      editSuperblocks(spare.disk, layout, (view, replica) => {
        if (replica === 1) view.setUint8(16, view.getUint8(16) ^ 1);
      });
      await rejectsWith(spare.open(), 'METADATA_MIXED');
    }));

  it('replicas whose checkpoints are all damaged', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled();
      for (let index = 0; index < 5; index += 1) await commit(device, [granules(index, 300 + index)]);
      await device.store.close();
      await (await spare.openSettled()).store.close();
      const { layout } = device.opened;
      for (const { areaOffsets } of layout.replicas) {
        for (const offset of areaOffsets) wipe(spare.disk, offset, layout.areaBlocks * 4096);
      }
      await rejectsWith(spare.open(), 'METADATA_NO_REPLICA');
    }));

  it('M14 nothing when the spare has grown: the places are where they were', () =>
    withSpare({}, async (small) => {
      const layout = await fiveCommits(small);
      await withSpare({ sizeBytes: 9 << 20 }, async (grown) => {
        grown.disk.load(small.disk.durableImage);
        const { report, records } = await grown.open();
        assert.equal(report.replicasValid, 2);
        assert.equal(records.length, 5);
        assert.equal(layout.spareSizeBytes, 3 << 20);
      });
    }));
});

describe('M6 open of what a checksum vouches for and nobody wrote', () => {
  it('gives a state or one line, whatever stands in the superblocks', async () => {
    let opened = 0;
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.boolean(),
        fc.array(fc.tuple(fc.integer({ min: 8, max: 110 }), fc.integer({ min: 0, max: 0xffff_ffff })), {
          minLength: 1,
          maxLength: 3,
        }),
        fc.boolean(),
        async (fresh, edits, force) => {
          await withSpare({ fresh }, async (spare) => {
            const device = await spare.createSettled();
            await commit(device, [granules(1, 300)]);
            await device.store.close();
            editSuperblocks(spare.disk, device.opened.layout, (view) => {
              for (const [word, value] of edits) view.setUint32(4 * word, value, true);
            });
            try {
              await spare.open({ force });
              opened += 1;
            } catch (error) {
              assert.ok(error instanceof MetadataError, String(error));
              refused += 1;
            }
          });
        },
      ),
      { numRuns: 150 },
    );
    assert.ok(opened > 5 && refused > 5, `${opened} opened, ${refused} refused`);
  });
});

describe('the order of writes', () => {
  /** A store over a recorder, with a look at the media at each write. */
  async function recorded(
    spare: TestSpare,
    onWrite: (offset: number, length: number) => void,
  ): Promise<{ device: OpenDevice; operations: readonly RecordedOperation[] }> {
    await spare.create();
    let recorder: RecordingDevice | undefined;
    const device = await spare.openSettled({
      wrap: (below) => {
        recorder = new (class extends RecordingDevice {
          override write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
            onWrite(offset, source.length);
            return super.write(source, offset, flags);
          }
        })(below, new OperationCounter());
        return recorder;
      },
    });
    return { device, operations: recorder!.operations };
  }

  it('M3 M7 never touches a journal block or an area that a superblock on the media can open', () =>
    withSpare({}, async (spare) => {
      let checked = 0;
      let layout: SpareLayout | undefined;
      const { device } = await recorded(spare, (offset, length) => {
        if (layout === undefined) return;
        const image = spare.disk.durableImage;
        const opened = layout.replicas.map((_, replica) => newestSuperblock(image, layout!, replica)!);
        const oldest = Math.min(...opened.map(({ checkpoint }) => checkpoint.generation));
        for (let at = offset; at < offset + length; at += 4096) {
          const present = journalBlocks(spare.disk.cachedImage(), layout, opened[0]!.shared.uuid).find(
            (block) => block.offset === at,
          );
          if (present !== undefined) assert.ok(present.header.generation < oldest, 'M3');
          for (const { replica, checkpoint } of opened) {
            const area = layout.replicas[replica]!.areaOffsets[checkpoint.area];
            const isActive = at >= area && at < area + layout.areaBlocks * 4096;
            assert.ok(!isActive, 'M7');
          }
          checked += 1;
        }
      });
      layout = device.opened.layout;
      for (let index = 0; index < 60; index += 1)
        await commit(device, [granules(index % 9, 300 + (index % 9))]);
      assert.ok(device.store.status().checkpoints >= 3);
      assert.ok(checked > 120);
    }));

  it('M7 writes a checkpoint: area, flush, read back, superblock, flush, one replica after the other', () =>
    withSpare({}, async (spare) => {
      const { device, operations } = await recorded(spare, () => {});
      const { layout } = device.opened;
      for (let index = 0; index < 7; index += 1) await commit(device, [granules(index, 300 + index)]);
      const start = operations.length;
      await commit(device, [granules(7, 307)]);
      await device.store.close();
      assert.equal(device.store.status().checkpoints, 1);
      const story: string[] = [];
      for (const { kind, phase, offset } of operations.slice(start)) {
        if (phase !== 'settle') continue;
        const replica = offset < 1 << 20 ? 0 : 1;
        const place = layout.replicas[replica]!;
        const isSuperblock = offset >= place.superblockOffset && offset < place.superblockOffset + 8192;
        const isArea = offset >= place.areaOffsets[0] && offset < place.journalOffsets[0];
        if (kind === 'flush') story.push('flush');
        else if (isSuperblock) story.push(`${kind} superblock ${replica}`);
        else if (isArea) story.push(`${kind} area ${replica}`);
      }
      const checkpoint = (replica: number, source: string[]): string[] => [
        ...source,
        `write area ${replica}`,
        'flush',
        `read area ${replica}`,
        `write superblock ${replica}`,
        'flush',
        `read superblock ${replica}`,
      ];
      assert.deepEqual(story, [
        'flush',
        'flush',
        ...checkpoint(0, []),
        ...checkpoint(1, ['read area 0']),
        'write superblock 0',
        'write superblock 1',
        'flush',
      ]);
    }));
});
