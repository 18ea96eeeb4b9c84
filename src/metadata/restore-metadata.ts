import { asDeviceError } from '../block/device-error.ts';
import { sameBytes, uuidAt, uuidBytes } from './block-checksum.ts';
import { claimSpare, type SpareTaker } from './claim-spare.ts';
import { forgetOlderGenerations, writeGeneration } from './generation-writer.ts';
import { type JournalBlock, scanJournals } from './journal-replay.ts';
import type { MappingStateSource } from './mapping-state.ts';
import type { MetadataDump } from './metadata-dump.ts';
import { MetadataError } from './metadata-error.ts';
import type { MetadataParts } from './opened-metadata.ts';
import { type Replica, ReplicaSet } from './replica-set.ts';
import { SpareIo } from './spare-io.ts';
import type { Superblock } from './superblock.ts';
import { type SuperblockScan, scanSuperblocks } from './superblock-scan.ts';

export interface RestoreChoices {
  /** Also a dump that is older than what is on the spare. */
  readonly force: boolean;
  readonly taker: SpareTaker;
  /** The caller's own refusals, when the spare proved to be the dump's. */
  readonly beforeWriting: () => Promise<void>;
}

/** Above every revision that may turn up again. */
const revisionStep: number = 2 ** 20;

/**
 * Writes a dump onto a spare that cannot be opened any more, as a fresh generation above everything that is there. `source`
 * holds the dump's records. Only onto the spare that the dump is of: some block of the metadata there must say so, for the
 * slots of another disk hold other bytes. Resolves to from whom the spare was taken (M11). Rejects with a `MetadataError`.
 */
export async function restoreMetadata(
  parts: MetadataParts,
  dump: MetadataDump,
  source: MappingStateSource,
  { force, taker, beforeWriting }: RestoreChoices,
): Promise<readonly string[]> {
  const io = new SpareIo(parts.spare, parts.arena, parts.clock);
  const { shared, checkpoint } = dump.superblock;
  const { layout, uuid } = shared;
  refuseSize(io, layout.spareSizeBytes);
  const scan = await scanSuperblocks(io);
  refuseOthers(io, scan, uuid);
  const blocks = await scanJournals(io, layout, uuid, layout.replicas);
  const found = scan.found.map(({ superblock }) => superblock);
  if (found.length + blocks.length === 0 && !(await hasCheckpointBlock(io, dump))) throw notItsSpare(io);
  const sequences = [dump.sequence, ...blocks.map(({ header }) => header.sequence)];
  const generations = [checkpoint.generation, ...blocks.map(({ header }) => header.generation)];
  const revisions = [shared.revision];
  for (const superblock of found) {
    sequences.push(superblock.checkpoint.lastSequence, superblock.shared.reachedSequence);
    generations.push(superblock.checkpoint.generation + 1);
    revisions.push(superblock.shared.revision);
  }
  if (!force) refuseNewer(io, dump.sequence, reachedSequence(blocks, found));
  await beforeWriting();
  const claim = await claimSpare(io, parts.random, [shared], taker);
  const replicas = layout.replicas.map(
    (place, index): Replica => ({
      index,
      place,
      state: 'out',
      slot: 1,
      slotInDoubt: false,
      checkpoint: { ...checkpoint, area: 1 },
      late: false,
      fenced: false,
    }),
  );
  const lastSequence = highest(sequences);
  const set = new ReplicaSet(io, replicas, {
    ...shared,
    cleanlyClosed: false,
    revision: highest(revisions) + revisionStep,
    reachedSequence: lastSequence,
  });
  const sessionNonce = new Uint8Array(8);
  parts.random.fill(sessionNonce);
  const plan = { generation: highest(generations) + 2, sessionNonce, journal: 0, lastSequence } as const;
  try {
    await writeGeneration(io, set, { ...plan, source, targets: replicas });
    await forgetOlderGenerations(set);
    set.change({ cleanlyClosed: true });
    await set.rewriteMembers();
    await claim.release();
    return claim.takenOver;
  } catch (error) {
    if (error instanceof MetadataError) throw error;
    const failure = asDeviceError(error);
    throw new MetadataError(
      'METADATA_SETTLE_FAILED',
      `${io.spare.name}: the metadata cannot be written (${failure.message}): replace the spare`,
      failure,
    );
  }
}

/** Of a journal as long as a spare has, a spread argument would be too long a list. */
function highest(numbers: readonly number[]): number {
  return numbers.reduce((most, number) => Math.max(most, number), 0);
}

function refuseSize(io: SpareIo, neededBytes: number): void {
  const { sizeBytes } = io.spare.geometry;
  if (sizeBytes >= neededBytes) return;
  throw new MetadataError(
    'METADATA_SPARE_SHRUNK',
    `${io.spare.name}: has ${sizeBytes} bytes, the dump is of a spare of ${neededBytes}: it is not that spare`,
  );
}

function refuseOthers(io: SpareIo, scan: SuperblockScan, uuid: Uint8Array): void {
  const stranger = scan.found.find(({ superblock }) => !sameBytes(superblock.shared.uuid, uuid));
  if (stranger === undefined && scan.newerVersion === undefined && scan.unknownFeatures === undefined) return;
  throw new MetadataError(
    'METADATA_MIXED',
    `${io.spare.name}: has a superblock of another device or of a newer dm-remap: it is not the spare of this dump`,
  );
}

function reachedSequence(blocks: readonly JournalBlock[], found: readonly Superblock[]): number {
  return highest([
    ...blocks.map(({ header }) => header.sequence),
    ...found.map(({ checkpoint, shared }) => Math.max(checkpoint.lastSequence, shared.reachedSequence)),
  ]);
}

function refuseNewer(io: SpareIo, sequence: number, reached: number): void {
  if (reached <= sequence) return;
  throw new MetadataError(
    'METADATA_GAP',
    `${io.spare.name}: has records up to sequence ${reached}, the dump only up to ${sequence}: what came in between ` +
      'would be lost; --force restores it',
  );
}

/** The last trace: a checkpoint's block, in any of its areas. */
async function hasCheckpointBlock(io: SpareIo, dump: MetadataDump): Promise<boolean> {
  const { layout, uuid } = dump.superblock.shared;
  let found = false;
  for (const place of layout.replicas) {
    for (const offset of place.areaOffsets) {
      await io.readEach(offset, 1, (block) => {
        found ||= block !== undefined && sameBytes(block.subarray(uuidAt, uuidAt + uuidBytes), uuid);
      });
    }
  }
  return found;
}

function notItsSpare(io: SpareIo): MetadataError {
  return new MetadataError(
    'METADATA_NOT_A_SPARE',
    `${io.spare.name}: nothing on it belongs to the device of this dump: its slots would hold other bytes than the table says`,
  );
}
