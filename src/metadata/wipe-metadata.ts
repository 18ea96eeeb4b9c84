import { hasMagic } from './block-checksum.ts';
import { blockBytes } from './block-size.ts';
import { superblockPlaces, superblockSlots } from './layout.ts';
import type { SpareIo } from './spare-io.ts';
import { decodeSuperblock, superblockMagic } from './superblock.ts';

/** How a disk stands after its superblocks were taken away. */
export interface WipeOutcome {
  readonly wiped: number;
  /** Byte offsets of superblocks that are there still, or cannot be read to see whether they are. */
  readonly left: readonly number[];
}

/**
 * Zeroes every superblock of ours, whole or damaged, where a reader looks and where those found name places; nothing else:
 * a block without our magic is somebody's. Flushed and read back. Rejects with the device's error.
 */
export async function wipeSuperblocks(io: SpareIo): Promise<WipeOutcome> {
  const places = await superblockSlotsOf(io);
  let wiped = 0;
  for (const offset of places) {
    if ((await looksLikeOurs(io, offset)) !== 'ours') continue;
    await io.withPiece(1, (piece) => io.write(piece.fill(0), offset));
    wiped += 1;
  }
  await io.flusher.flush();
  const left: number[] = [];
  for (const offset of places) if ((await looksLikeOurs(io, offset)) !== 'other') left.push(offset);
  return { wiped, left };
}

async function looksLikeOurs(io: SpareIo, offset: number): Promise<'ours' | 'other' | 'unreadable'> {
  let found: 'ours' | 'other' | 'unreadable' = 'unreadable';
  await io.readEach(offset, 1, (block) => {
    if (block !== undefined) found = hasMagic(block, superblockMagic) ? 'ours' : 'other';
  });
  return found;
}

/** Byte offsets of all slots: at the places by size, then at those that whole superblocks name for themselves. */
async function superblockSlotsOf(io: SpareIo): Promise<readonly number[]> {
  const { sizeBytes } = io.spare.geometry;
  const places = new Set(superblockPlaces(sizeBytes));
  for (const place of [...places]) {
    await io.readEach(place, superblockSlots, (block) => {
      const finding = block === undefined ? undefined : decodeSuperblock(block);
      if (finding?.found !== 'superblock') return;
      for (const { superblockOffset } of finding.superblock.shared.layout.replicas) {
        if (superblockOffset + superblockSlots * blockBytes <= sizeBytes) places.add(superblockOffset);
      }
    });
  }
  return [...places].flatMap((place) =>
    Array.from({ length: superblockSlots }, (_, slot) => place + slot * blockBytes),
  );
}
