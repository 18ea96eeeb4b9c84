import assert from 'node:assert/strict';
import { sealBlock } from '../../src/metadata/block-checksum.ts';
import type { SpareLayout } from '../../src/metadata/layout.ts';
import { decodeRecordBlock, type RecordBlock } from '../../src/metadata/record-block.ts';
import { decodeSuperblock, type Superblock } from '../../src/metadata/superblock.ts';
import type { SimulatedDisk } from '../../src/simulator/simulated-disk.ts';

/** A journal block on the media. */
export interface StoredBlock {
  readonly header: RecordBlock;
  readonly offset: number;
  readonly replica: number;
}

/** Valid journal blocks on the media, by replica. */
export function journalBlocks(image: Uint8Array, layout: SpareLayout, uuid: Uint8Array): StoredBlock[] {
  const blocks: StoredBlock[] = [];
  layout.replicas.forEach((place, replica) => {
    for (const start of place.journalOffsets) {
      for (let offset = start; offset < start + layout.journalBlocks * 4096; offset += 4096) {
        const header = decodeRecordBlock(image.subarray(offset, offset + 4096), 'journal', uuid);
        if (header !== undefined) blocks.push({ header, offset, replica });
      }
    }
  });
  return blocks;
}

/** The newest valid superblock of a replica on the media. */
export function newestSuperblock(
  image: Uint8Array,
  layout: SpareLayout,
  replica: number,
): Superblock | undefined {
  let newest: Superblock | undefined;
  for (const slot of [0, 1]) {
    const offset = layout.replicas[replica]!.superblockOffset + slot * 4096;
    const finding = decodeSuperblock(image.subarray(offset, offset + 4096));
    if (finding.found !== 'superblock') continue;
    if (newest === undefined || finding.superblock.shared.revision > newest.shared.revision) {
      newest = finding.superblock;
    }
  }
  return newest;
}

/** Changes every valid superblock on the media, with a right checksum. */
export function editSuperblocks(
  disk: SimulatedDisk,
  layout: SpareLayout,
  edit: (view: DataView, replica: number) => void,
): void {
  let edited = 0;
  layout.replicas.forEach(({ superblockOffset }, replica) => {
    for (const offset of [superblockOffset, superblockOffset + 4096]) {
      const block = disk.durableImage.slice(offset, offset + 4096);
      if (decodeSuperblock(block).found !== 'superblock') continue;
      edit(new DataView(block.buffer), replica);
      sealBlock(block);
      disk.load(block, offset);
      edited += 1;
    }
  });
  assert.ok(edited > 0, 'there was a superblock to edit');
}

export function wipe(disk: SimulatedDisk, offset: number, length = 4096): void {
  disk.load(new Uint8Array(length), offset);
}
