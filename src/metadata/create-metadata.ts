import { assert } from '../block/assert.ts';
import { asDeviceError } from '../block/device-error.ts';
import { sameBytes } from './block-checksum.ts';
import { blockBytes } from './block-size.ts';
import { zeroBlocks } from './empty-spare.ts';
import { planLayout, type SpareLayout, superblockPlaces, superblockSlots } from './layout.ts';
import { MetadataError } from './metadata-error.ts';
import type { CreateParameters, MetadataParts } from './opened-metadata.ts';
import { encodeProperties } from './property-codec.ts';
import { mismatch, SpareIo } from './spare-io.ts';
import {
  encodeSuperblock,
  IncompatibleFeature,
  propertyBytesMax,
  type SharedFacts,
  type Superblock,
} from './superblock.ts';
import { newUuid } from './uuid.ts';

/**
 * Makes a spare ours (M6): all places of superblocks are emptied and flushed first, so that at no moment an old and a new
 * device are both there; then the journals are emptied, which also proves that they can be written; superblocks come last,
 * are flushed and read back. A creation cut short leaves no device.
 */
export async function createMetadata(parts: MetadataParts, parameters: CreateParameters): Promise<void> {
  const { spare } = parts;
  refuseGeometry(parts, parameters);
  const layout = planLayout(spare.geometry.sizeBytes, parameters.mainSizeBytes, parameters.granuleBytes, {
    ...parameters.layout,
    fresh: parameters.fresh ?? false,
  });
  const properties = { properties: parameters.properties, unknown: [] };
  encodeProperties(properties, propertyBytesMax);
  const io = new SpareIo(spare, parts.arena, parts.clock);
  try {
    await emptySuperblocks(io, layout);
    await emptyJournals(io, layout);
    const nowSeconds = Math.floor(parts.clock.unixMs() / 1000);
    await writeSuperblocks(io, parts, {
      uuid: newUuid(parts.random),
      features: {
        compatible: 0,
        readOnlyCompatible: 0,
        incompatible: layout.freshSizeBytes > 0 ? IncompatibleFeature.fresh : 0,
      },
      cleanlyClosed: true,
      revision: 1,
      membershipEpoch: 1,
      inSyncMask: (1 << layout.replicas.length) - 1,
      layout,
      logicalBlockBytes: parameters.logicalBlockBytes,
      createdUnixSeconds: nowSeconds,
      writtenUnixSeconds: nowSeconds,
      properties,
      reachedSequence: 0,
    });
  } catch (error) {
    if (error instanceof MetadataError) throw error;
    const failure = asDeviceError(error);
    throw new MetadataError(
      'METADATA_CREATE_FAILED',
      `${spare.name}: the metadata could not be written (${failure.message}): a spare must be healthy, use another one`,
      failure,
    );
  }
}

function refuseGeometry({ spare }: MetadataParts, parameters: CreateParameters): void {
  const { logicalBlockBytes } = spare.geometry;
  assert(parameters.mainSizeBytes % parameters.logicalBlockBytes === 0, 'main is whole logical blocks');
  if (logicalBlockBytes > blockBytes) {
    throw new MetadataError(
      'METADATA_UNSUITABLE_SPARE',
      `${spare.name}: its logical block has ${logicalBlockBytes} bytes, expected at most ${blockBytes}: use another spare`,
    );
  }
  if (logicalBlockBytes > parameters.granuleBytes) {
    throw new MetadataError(
      'METADATA_UNSUITABLE_SPARE',
      `${spare.name}: its logical block of ${logicalBlockBytes} bytes is larger than a granule of ${parameters.granuleBytes}`,
    );
  }
}

async function emptySuperblocks(io: SpareIo, layout: SpareLayout): Promise<void> {
  for (const place of superblockPlaces(layout.spareSizeBytes)) await zeroBlocks(io, place, superblockSlots);
  await io.flusher.flush();
}

async function emptyJournals(io: SpareIo, layout: SpareLayout): Promise<void> {
  for (const place of layout.replicas) {
    for (const offset of place.journalOffsets) await zeroBlocks(io, offset, layout.journalBlocks);
  }
  await io.flusher.flush();
}

async function writeSuperblocks(io: SpareIo, parts: MetadataParts, shared: SharedFacts): Promise<void> {
  const sessionNonce = new Uint8Array(8);
  parts.random.fill(sessionNonce);
  const blocks = shared.layout.replicas.map((_, replica) => {
    const superblock: Superblock = {
      replica,
      shared,
      // The empty checkpoint has no blocks: nothing of an area is read before it is written.
      checkpoint: {
        generation: 1,
        sessionNonce,
        area: 0,
        journal: 0,
        blockCount: 0,
        recordCount: 0,
        checksum: 0,
        lastSequence: 0,
      },
    };
    const block = new Uint8Array(blockBytes);
    encodeSuperblock(block, superblock);
    return block;
  });
  await io.withPiece(1, async (piece) => {
    for (const [index, place] of shared.layout.replicas.entries()) {
      piece.set(blocks[index]!);
      await io.write(piece, place.superblockOffset);
    }
    await io.flusher.flush();
    for (const [index, place] of shared.layout.replicas.entries()) {
      await io.read(piece, place.superblockOffset);
      if (!sameBytes(piece, blocks[index]!)) throw mismatch(io.spare, place.superblockOffset, blockBytes);
    }
  });
}
