import { asDeviceError, type DeviceError } from '../block/device-error.ts';
import { blockBytes } from './block-size.ts';
import type { ReplicaPlace } from './layout.ts';
import { decodeRecordBlock, encodeRecordBlock } from './record-block.ts';
import { isPlaceFault, mismatch, type SpareIo } from './spare-io.ts';
import type { CheckpointFacts, SharedFacts } from './superblock.ts';

/** What is fenced. */
interface FencedReplica {
  readonly place: ReplicaPlace;
  readonly checkpoint: CheckpointFacts;
}

/** Blocks of its journals that are tried, from their ends on: what is bad lies at the place of the superblocks. */
const fencePlacesMax = 4;

/**
 * M2: makes a replica that has left the set unfit to be opened by itself, where its superblocks can be read but not
 * overwritten: an empty block in its journal, of a generation that the superblock of generation `staleGeneration` cannot open,
 * says that there was more. Whoever finds only this replica refuses (`METADATA_GAP`). Rejects with the device's error when
 * no such block can be stored.
 */
export async function fenceReplica(
  io: SpareIo,
  shared: SharedFacts,
  replica: FencedReplica,
  staleGeneration: number,
): Promise<void> {
  let failure: DeviceError | undefined;
  for (let place = 0; place < fencePlacesMax; place += 1) {
    const start = replica.place.journalOffsets[place % 2 === 0 ? 0 : 1];
    const index = shared.layout.journalBlocks - 1 - Math.floor(place / 2);
    const offset = start + index * blockBytes;
    try {
      await io.withPiece(1, (piece) => storeFence(io, shared, replica, staleGeneration + 2, piece, offset));
      return;
    } catch (error) {
      failure = asDeviceError(error);
      // A write that may still arrive has no place behind which it cannot do harm (R3).
      if (!isPlaceFault(failure) || failure.kind === 'timed-out') throw failure;
    }
  }
  throw failure ?? mismatch(io.spare, replica.place.superblockOffset, blockBytes);
}

async function storeFence(
  io: SpareIo,
  shared: SharedFacts,
  { checkpoint }: FencedReplica,
  generation: number,
  piece: Uint8Array,
  offset: number,
): Promise<void> {
  const { sessionNonce, lastSequence: sequence } = checkpoint;
  const header = {
    kind: 'journal',
    uuid: shared.uuid,
    generation,
    sessionNonce,
    sequence,
    firstSequence: sequence,
    predecessorChecksum: 0,
  } as const;
  encodeRecordBlock(piece, header, [], shared.layout);
  const { epoch } = io.flusher;
  await io.write(piece, offset);
  await io.flusher.flush();
  io.checkFlushed(epoch);
  piece.fill(0);
  await io.read(piece, offset);
  if (decodeRecordBlock(piece, 'journal', shared.uuid)?.generation !== generation) {
    throw mismatch(io.spare, offset, blockBytes);
  }
}
