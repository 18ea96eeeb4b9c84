import { deviceError } from '../block/device-error.ts';
import { Errno } from '../block/errno.ts';
import { sameBytes } from './block-checksum.ts';
import { sameCheckpoint } from './checkpoint-body.ts';
import { readCheckpoint } from './checkpoint-reader.ts';
import type { JournalWriter } from './journal-writer.ts';
import type { RecordSink } from './opened-metadata.ts';
import { decodeRecordBlock } from './record-block.ts';
import { type Replica, type ReplicaSet, slotOffset } from './replica-set.ts';
import type { SpareIo } from './spare-io.ts';
import { decodeSuperblock, type Superblock } from './superblock.ts';

/** What reading the replicas again has shown; indices. A replica that changed each time it was looked at is in neither list. */
export interface ReplicaLook {
  readonly checked: number;
  readonly good: readonly number[];
  readonly bad: readonly number[];
}

/** Of the replicas in sync. */
export interface ReplicaVerdict {
  readonly checked: number;
  readonly bad: number;
  /** Of the bad ones: written anew, and good when they were read again. */
  readonly repaired: number;
}

/** A replica that is written to while it is read says nothing: it is read again, so often. */
const looksMax = 4;

const nothing: RecordSink = { begin: () => undefined, add: () => undefined };

/** Reads every replica in sync by itself, one after the other. Writes nothing. Rejects when the spare does not answer. */
export async function lookAtReplicas(
  io: SpareIo,
  set: ReplicaSet,
  journal: JournalWriter,
): Promise<ReplicaLook> {
  const good: number[] = [];
  const bad: number[] = [];
  const members = set.inSync();
  if (members.length === 0) {
    const detail = 'no replica of the metadata can be written';
    throw deviceError(io.spare.name, 'path', 0, io.spare.geometry.sizeBytes, Errno.EIO, detail);
  }
  for (const replica of members) {
    const isGood = await lookUntilStill(io, set, journal, replica);
    if (isGood !== undefined) (isGood ? good : bad).push(replica.index);
  }
  return { checked: good.length + bad.length, good, bad };
}

async function lookUntilStill(
  io: SpareIo,
  set: ReplicaSet,
  journal: JournalWriter,
  replica: Replica,
): Promise<boolean | undefined> {
  for (let look = 0; look < looksMax && replica.state === 'in-sync'; look += 1) {
    const { revision } = set.shared;
    const { generation } = journal;
    const isGood = await isWhole(io, set, journal, replica);
    if (isGood || (revision === set.shared.revision && generation === journal.generation)) {
      return replica.state === 'in-sync' ? isGood : undefined;
    }
  }
  return undefined;
}

/** Its newest superblock, its whole checkpoint and every acknowledged block of its journal since. */
async function isWhole(
  io: SpareIo,
  set: ReplicaSet,
  journal: JournalWriter,
  replica: Replica,
): Promise<boolean> {
  const { checkpoint } = replica;
  const { acknowledgedSequence } = journal;
  const superblock = await readSuperblock(io, slotOffset(replica, replica.slot));
  if (superblock === undefined || superblock.replica !== replica.index) return false;
  if (!sameBytes(superblock.shared.uuid, set.shared.uuid)) return false;
  if (!sameCheckpoint(superblock.checkpoint, checkpoint)) return false;
  if ((await readCheckpoint(io, [superblock], nothing)) === undefined) return false;
  return await hasJournal(io, set, replica, checkpoint.lastSequence + 1, acknowledgedSequence);
}

async function readSuperblock(io: SpareIo, offset: number): Promise<Superblock | undefined> {
  let found: Superblock | undefined;
  await io.readEach(offset, 1, (block) => {
    const finding = block === undefined ? undefined : decodeSuperblock(block);
    if (finding?.found === 'superblock') found = finding.superblock;
  });
  return found;
}

/** Whether every sequence number from `first` to `last` is in one of its two journals. */
async function hasJournal(
  io: SpareIo,
  set: ReplicaSet,
  { place }: Replica,
  first: number,
  last: number,
): Promise<boolean> {
  if (first > last) return true;
  const { layout, uuid } = set.shared;
  const seen = new Set<number>();
  for (const offset of place.journalOffsets) {
    await io.readEach(offset, layout.journalBlocks, (block) => {
      const header = block === undefined ? undefined : decodeRecordBlock(block, 'journal', uuid);
      if (header !== undefined && header.sequence >= first && header.sequence <= last)
        seen.add(header.sequence);
    });
  }
  return seen.size === last - first + 1;
}
