import { assert } from '../block/assert.ts';
import { asDeviceError, DeviceError, deviceError } from '../block/device-error.ts';
import { Errno } from '../block/errno.ts';
import { blockBytes } from './block-size.ts';
import { CheckpointChain } from './checkpoint-body.ts';
import {
  type MappingRecord,
  type MappingStateSource,
  type StateCursor,
  startCursor,
  stateSections,
} from './mapping-state.ts';
import { encodeRecordBlock, recordsPerBlock } from './record-block.ts';
import type { Replica, ReplicaSet } from './replica-set.ts';
import { blockOf, isPlaceFault, mismatch, type SpareIo } from './spare-io.ts';
import type { CheckpointFacts } from './superblock.ts';

export interface GenerationPlan {
  readonly generation: number;
  readonly sessionNonce: Uint8Array;
  /** Journal blocks up to this one are in the table, or must not count. Taken before the pass over the table begins. */
  readonly lastSequence: number;
  /** Journal of the new generation. */
  readonly journal: 0 | 1;
  readonly source: MappingStateSource;
  readonly targets: readonly Replica[];
}

/** What the first replica got, and all others get the same bytes of. */
interface Written {
  readonly replica: Replica;
  readonly facts: CheckpointFacts;
}

/**
 * M7: writes a checkpoint, one replica after the other: inactive area, flush, read back, superblock, flush, read back. The
 * table is read once, for the first replica; the others are copied from one that was just verified, so that all replicas
 * hold the same bytes and opening can take each block from any of them.
 *
 * A replica whose place fails is marked failed and left out; the caller excludes it. Rejects with the device's error when
 * the spare as a whole failed, or when no replica is left.
 */
export async function writeGeneration(io: SpareIo, set: ReplicaSet, plan: GenerationPlan): Promise<void> {
  let written: Written | undefined;
  let lastError: DeviceError | undefined;
  for (const replica of plan.targets) {
    while (!hasFailed(replica)) {
      try {
        written = await writeReplica(io, set, plan, replica, written);
        break;
      } catch (error) {
        lastError = asDeviceError(error);
        if (set.hasLateWrite) throw error;
        if (hasFailed(replica)) break;
        // Nobody's place is to blame, but a flush or the path is: going on would leave a member behind the others.
        if (written === undefined || !hasFailed(written.replica)) throw error;
        // What it was copied from could not be read: it is written from the table instead.
        written = undefined;
      }
    }
  }
  if (written !== undefined) return;
  throw lastError ?? deviceError(io.spare.name, 'path', 0, blockBytes, Errno.EIO, 'no replica is left');
}

/** The blame for a fault of a place is in the states; see `blaming`. */
function hasFailed(replica: Replica): boolean {
  return replica.state === 'failed';
}

/**
 * Writes the second superblock slots too, so that no reader can fall back to what a new generation was written to undo, and
 * excludes what failed. Rejects with the device's error.
 */
export async function forgetOlderGenerations(
  set: ReplicaSet,
  replicas: readonly Replica[] = set.inSync(),
): Promise<void> {
  for (const replica of replicas) {
    try {
      await set.publish(replica, replica.checkpoint);
    } catch (error) {
      asDeviceError(error);
      if (replica.state !== 'failed') throw error;
    }
  }
  while (!set.isConsistent) await set.excludeFailed();
}

async function writeReplica(
  io: SpareIo,
  set: ReplicaSet,
  plan: GenerationPlan,
  replica: Replica,
  written: Written | undefined,
): Promise<Written> {
  await set.clearDoubt(replica);
  const epoch = io.flusher.epoch;
  const area = replica.checkpoint.area === 0 ? 1 : 0;
  const offset = replica.place.areaOffsets[area];
  const chain = new CheckpointChain(set.shared.uuid, plan);
  if (written === undefined) await writeFromTable(io, set, plan, replica, offset, chain);
  else await copyFrom(io, set, written, replica, offset, chain);
  const facts: CheckpointFacts = {
    generation: plan.generation,
    sessionNonce: plan.sessionNonce,
    area,
    journal: plan.journal,
    blockCount: chain.blockCount,
    recordCount: chain.recordCount,
    checksum: chain.checksum,
    lastSequence: plan.lastSequence,
  };
  await io.flusher.flush();
  io.checkFlushed(epoch);
  await blaming(set, replica, () => verifyArea(io, set, facts, offset));
  await set.publish(replica, facts);
  return { replica, facts };
}

async function writeFromTable(
  io: SpareIo,
  set: ReplicaSet,
  plan: GenerationPlan,
  replica: Replica,
  offset: number,
  chain: CheckpointChain,
): Promise<void> {
  const { layout } = set.shared;
  const records = new RecordReader(plan.source);
  while (!records.ended) {
    const first = chain.blockCount;
    await io.withPiece(io.pieceBlocks, async (piece) => {
      let blocks = 0;
      while (blocks < io.pieceBlocks && !records.ended) {
        const taken = records.take(recordsPerBlock);
        if (taken.length === 0) break;
        const header = {
          kind: 'checkpoint',
          uuid: set.shared.uuid,
          generation: plan.generation,
          sessionNonce: plan.sessionNonce,
          sequence: chain.blockCount,
          firstSequence: plan.lastSequence,
          predecessorChecksum: chain.predecessorChecksum,
        } as const;
        const checksum = encodeRecordBlock(blockOf(piece, blocks), header, taken, layout);
        chain.append(checksum, taken.length);
        blocks += 1;
      }
      if (blocks === 0) return;
      if (chain.blockCount > layout.areaBlocks) throw new TableGrew(io.spare.name);
      const source = piece.subarray(0, blocks * blockBytes);
      await blaming(set, replica, () => io.write(source, offset + first * blockBytes));
    });
  }
}

/** Copies the area of a replica just verified, verifying each block again on the way. */
async function copyFrom(
  io: SpareIo,
  set: ReplicaSet,
  written: Written,
  replica: Replica,
  offset: number,
  chain: CheckpointChain,
): Promise<void> {
  const { facts } = written;
  const from = written.replica.place.areaOffsets[facts.area];
  for (let first = 0; first < facts.blockCount; first += io.pieceBlocks) {
    const blocks = Math.min(io.pieceBlocks, facts.blockCount - first);
    await io.withPiece(blocks, async (piece) => {
      await blaming(set, written.replica, async () => {
        await io.read(piece, from + first * blockBytes);
        for (let index = 0; index < blocks; index += 1) {
          if (chain.accept(blockOf(piece, index)) === undefined) {
            throw mismatch(io.spare, from + (first + index) * blockBytes, blockBytes);
          }
        }
      });
      await blaming(set, replica, () => io.write(piece, offset + first * blockBytes));
    });
  }
}

async function verifyArea(
  io: SpareIo,
  set: ReplicaSet,
  facts: CheckpointFacts,
  offset: number,
): Promise<void> {
  const chain = new CheckpointChain(set.shared.uuid, facts);
  await io.readEach(offset, facts.blockCount, (block, index) => {
    if (block === undefined || chain.accept(block) === undefined) {
      throw mismatch(io.spare, offset + index * blockBytes, blockBytes);
    }
  });
  if (!chain.isComplete(facts)) throw mismatch(io.spare, offset, blockBytes);
}

/** A fault of the place during `action` is this replica's. */
async function blaming(set: ReplicaSet, replica: Replica, action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    const failure = asDeviceError(error);
    if (isPlaceFault(failure)) set.markFailed(replica, failure);
    throw error;
  }
}

/** The table grew past its bound during the pass: slots were freed behind the cursor and used again before it. Try again. */
export class TableGrew extends DeviceError {
  constructor(spareName: string) {
    const range = { offset: 0, length: blockBytes, kind: 'transient', errno: Errno.EAGAIN } as const;
    super(spareName, [range], { detail: 'the table changed too much during a checkpoint' });
  }
}

/** The records of a table as pieces of the wanted size, whatever sizes the table gives. */
class RecordReader {
  readonly #source: MappingStateSource;
  #cursor: StateCursor | undefined = startCursor;
  #ended = false;

  constructor(source: MappingStateSource) {
    this.#source = source;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Exactly `limit` records, fewer only at the end. */
  take(limit: number): MappingRecord[] {
    const taken: MappingRecord[] = [];
    while (taken.length < limit && this.#cursor !== undefined) {
      const before = this.#cursor;
      const { records, cursor } = this.#source.recordsAfter(before, limit - taken.length);
      assert(records.length <= limit - taken.length, 'a table gives no more records than asked for');
      for (const record of records) taken.push(record);
      assert(cursor === undefined || isBehind(cursor, before), 'the cursor over the table moves on');
      this.#cursor = cursor;
    }
    this.#ended = this.#cursor === undefined;
    return taken;
  }
}

function isBehind(cursor: StateCursor, before: StateCursor): boolean {
  if (cursor.section === before.section) return cursor.next > before.next;
  return stateSections.indexOf(cursor.section) > stateSections.indexOf(before.section);
}
