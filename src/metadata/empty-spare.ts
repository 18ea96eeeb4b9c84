import { asDeviceError, type DeviceError } from '../block/device-error.ts';
import { blockBytes } from './block-size.ts';
import { claimSpare, devicesOf, type SpareTaker } from './claim-spare.ts';
import { markPlaces } from './in-use-mark.ts';
import { type SpareLayout, superblockPlaces, superblockSlots } from './layout.ts';
import type { MetadataParts } from './opened-metadata.ts';
import { isPlaceFault, SpareIo } from './spare-io.ts';
import { decodeSuperblock } from './superblock.ts';
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

/**
 * As `emptySuperblocks`, for a disk that is given up: a place that cannot be overwritten, and gives no superblock either, is none.
 * Every place is tried, whatever became of the others. Rejects with the device's error.
 */
export async function disownSuperblocks(parts: MetadataParts, layout: SpareLayout): Promise<void> {
  const io = new SpareIo(parts.spare, parts.arena, parts.clock);
  const places = new Set(superblockPlaces(parts.spare.geometry.sizeBytes));
  for (const { superblockOffset } of layout.replicas) places.add(superblockOffset);
  let left: DeviceError | undefined;
  for (const place of places) {
    for (let slot = 0; slot < superblockSlots; slot += 1) {
      const failure = await takeAway(io, place + slot * blockBytes);
      left ??= failure;
    }
  }
  await io.flusher.flush();
  if (left !== undefined) throw left;
}

/** Undefined when no superblock is there any more. */
async function takeAway(io: SpareIo, offset: number): Promise<DeviceError | undefined> {
  try {
    await zeroBlocks(io, offset, 1);
    return undefined;
  } catch (error) {
    const failure = asDeviceError(error);
    if (!isPlaceFault(failure) || failure.kind === 'timed-out') throw failure;
    let isThere = false;
    await io.readEach(offset, 1, (block) => {
      isThere = block !== undefined && decodeSuperblock(block).found === 'superblock';
    });
    return isThere ? failure : undefined;
  }
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
