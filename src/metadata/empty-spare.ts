import { blockBytes } from './block-size.ts';
import { claimSpare, devicesOf, type SpareTaker } from './claim-spare.ts';
import { markPlaces } from './in-use-mark.ts';
import { type SpareLayout, superblockPlaces, superblockSlots } from './layout.ts';
import type { MetadataParts } from './opened-metadata.ts';
import { SpareIo } from './spare-io.ts';
import { scanSuperblocks } from './superblock-scan.ts';

/**
 * Makes a disk ready to take over from the spare with this layout: no superblock, journal or mark is left on it, of whatever
 * device, so that nothing can open it before `MetadataStore.startAnew`, and nothing old can count after it (M6). Superblocks go
 * first. Resolves to whose spare it was, one clause each. Rejects with the device's error, or `METADATA_IN_USE`.
 */
export async function emptySpare(
  parts: MetadataParts,
  layout: SpareLayout,
  taker: SpareTaker,
): Promise<readonly string[]> {
  const io = new SpareIo(parts.spare, parts.arena, parts.clock);
  const claim = await claimSpare(io, parts.random, devicesOf(await scanSuperblocks(io)), taker);
  await claim.release();
  await emptySuperblocks(parts, layout);
  for (const { journalOffsets } of layout.replicas) {
    for (const offset of journalOffsets) await zeroBlocks(io, offset, layout.journalBlocks);
  }
  for (const place of markPlaces(layout)) await zeroBlocks(io, place, 1);
  await io.flusher.flush();
  return claim.takenOver;
}

/** No superblock is on it any more, where a reader looks or where this layout has them, durably. Rejects with the device's error. */
export async function emptySuperblocks(parts: MetadataParts, layout: SpareLayout): Promise<void> {
  const io = new SpareIo(parts.spare, parts.arena, parts.clock);
  const places = new Set(superblockPlaces(parts.spare.geometry.sizeBytes));
  for (const { superblockOffset } of layout.replicas) places.add(superblockOffset);
  for (const place of places) await zeroBlocks(io, place, superblockSlots);
  await io.flusher.flush();
}

/** Does not flush. */
export async function zeroBlocks(io: SpareIo, offset: number, blocks: number): Promise<void> {
  await io.withPiece(Math.min(blocks, io.pieceBlocks), async (piece) => {
    piece.fill(0);
    for (let first = 0; first < blocks; first += io.pieceBlocks) {
      const count = Math.min(io.pieceBlocks, blocks - first);
      await io.write(piece.subarray(0, count * blockBytes), offset + first * blockBytes);
    }
  });
}
