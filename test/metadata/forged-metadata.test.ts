import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sealBlock } from '../../src/metadata/block-checksum.ts';
import { decodeMark, encodeMark } from '../../src/metadata/in-use-mark.ts';
import {
  decodeRecordBlock,
  encodeRecordBlock,
  type RecordBlockHeader,
} from '../../src/metadata/record-block.ts';
import { decodeSuperblock } from '../../src/metadata/superblock.ts';
import { granules, rejectsWith, withSpare } from './metadata-fixture.ts';
import { editSuperblocks } from './spare-surgery.ts';

/** Found by `npm run fuzz`: right checksums over what no program of ours writes. */
const places = 168;
const firstOffset = 64 * 1024;

const layouts: readonly (readonly [string, (view: DataView) => void])[] = [
  ['superblocks in front of the first place', (view) => view.setUint32(places, 0, true)],
  ['an area in front of the first place', (view) => view.setUint32(places + 8, 8, true)],
  ['a journal over an area', (view) => view.setUint32(places + 24, view.getUint32(places + 8, true), true)],
  ['two areas in one place', (view) => view.setUint32(places + 16, view.getUint32(places + 8, true), true)],
  [
    'an area between two blocks',
    (view) => view.setUint32(places + 8, view.getUint32(places + 8, true) + 1, true),
  ],
  ['the last replica before another', (view) => view.setUint32(places + 40, 1024, true)],
  ['areas of no blocks', (view) => view.setUint32(156, 0, true)],
  ['a journal of one block', (view) => view.setUint32(160, 1, true)],
  ['a granule of 64 KiB', (view) => view.setUint32(128, 128, true)],
  ['a granule of 2^41 bytes', (view) => view.setUint32(128, 0x8000_0000 + 8, true)],
  ['a main of no bytes', (view) => view.setUint32(112, 0, true)],
  ['a logical block of no bytes', (view) => view.setUint32(132, 0, true)],
  ['a logical block larger than a granule', (view) => view.setUint32(132, 8192, true)],
  ['members that are no replicas', (view) => view.setUint32(80, 0xff, true)],
  ['a revision that cannot be counted on from', (view) => view.setUint32(52, 0x1f_ffff, true)],
  ['a generation that cannot be counted on from', (view) => view.setUint32(60, 0x1f_ffff, true)],
  ['a sequence that cannot be counted on from', (view) => view.setUint32(108, 0x1f_ffff, true)],
];

describe('M6 what a checksum vouches for and nobody wrote', () => {
  for (const [what, forge] of layouts) {
    it(`a superblock with ${what} is damaged: the spare is refused and not written to`, () =>
      withSpare({}, async (spare) => {
        const { store, opened } = await spare.createSettled();
        await store.close();
        editSuperblocks(spare.disk, opened.layout, forge);
        const block = spare.disk.durableImage.slice(firstOffset, firstOffset + 4096);
        assert.equal(decodeSuperblock(block).found, 'damaged');
        const before = spare.disk.cachedImage();
        await rejectsWith(spare.open(), 'METADATA_NO_REPLICA');
        assert.deepEqual(spare.disk.cachedImage(), before);
      }));
  }

  it('a block of records with a number that cannot be counted on from does not exist', () => {
    const block = new Uint8Array(4096);
    const uuid = new Uint8Array(16).fill(7);
    const units = {
      granuleBytes: 4096,
      mainSizeBytes: 1 << 26,
      spareSizeBytes: 1 << 22,
      rowBytes: 1 << 22,
      freshRegionCount: 0,
    };
    const header: RecordBlockHeader = {
      kind: 'journal',
      ...{ uuid, generation: 1, sessionNonce: new Uint8Array(8) },
      ...{ sequence: 1, firstSequence: 1, predecessorChecksum: 0 },
    };
    for (const at of [32, 48, 56]) {
      encodeRecordBlock(block, header, [granules(1, 2)], units);
      assert.ok(decodeRecordBlock(block, 'journal', uuid) !== undefined);
      new DataView(block.buffer).setUint32(at + 4, 0x1f_ffff, true);
      sealBlock(block);
      assert.equal(decodeRecordBlock(block, 'journal', uuid), undefined, `the number at ${at}`);
    }
  });

  it('nor does a mark whose heartbeat cannot go on', () => {
    const block = new Uint8Array(4096);
    const uuid = new Uint8Array(16).fill(7);
    const mark = {
      ...{ machineId: '', bootId: '', pid: 1, startTicks: 1, hostName: 'a', nonce: '00'.repeat(8) },
      ...{ heartbeat: 1, writtenUnixSeconds: 1, intervalMs: 1, released: false },
    };
    encodeMark(block, uuid, mark);
    assert.ok(decodeMark(block, uuid) !== undefined);
    encodeMark(block, uuid, { ...mark, heartbeat: Number.MAX_SAFE_INTEGER });
    assert.equal(decodeMark(block, uuid), undefined);
  });
});
