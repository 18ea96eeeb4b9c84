import { assert } from '../block/assert.ts';
import { asDeviceError, type DeviceError } from '../block/device-error.ts';
import { blockBytes } from './block-size.ts';
import type { MappingRecord } from './mapping-state.ts';
import { encodeRecordBlock } from './record-block.ts';
import type { Replica, ReplicaSet } from './replica-set.ts';
import { blockOf, isPlaceFault, type SpareIo } from './spare-io.ts';

/** A replica whose block cannot be written tries this many places further on before it fails. */
const rehomeMax = 3;

/**
 * - `written`   on every replica that is still in sync; what failed is marked so
 * - `in-doubt`  nobody can say: the spare did not answer, or no replica took it
 * - `late`      in doubt, and a write passed its deadline: it may still arrive, so its place must not be used again (R3)
 */
export type JournalOutcome = 'written' | 'in-doubt' | 'late';

/** Where a session was that was about to leave its disk. */
export interface JournalBefore extends JournalStart {
  readonly acknowledgedSequence: number;
  readonly predecessorChecksum: number;
  readonly positions: readonly number[];
}

/** Where a session begins to write. */
export interface JournalStart {
  /** Eight bytes, in every block of the session. */
  readonly sessionNonce: Uint8Array;
  readonly generation: number;
  readonly journal: 0 | 1;
  readonly lastSequence: number;
}

/**
 * Appends batches to the journal of every in-sync replica. A block is written once in its generation (M3); where it stands
 * means nothing, so a replica may have it at another place than the next replica. Sequence numbers are never given twice.
 */
export class JournalWriter {
  readonly #io: SpareIo;
  readonly #set: ReplicaSet;
  #sessionNonce: Uint8Array;
  #generation: number;
  #journal: 0 | 1;
  #lastSequence: number;
  #acknowledgedSequence: number;
  /** CRC of the block `#lastSequence`; 0 when no reader reads that one together with the next. */
  #predecessorChecksum = 0;
  /** Next block of the journal, by replica. */
  readonly #positions: number[];
  /** What `write` prepared and `confirm` makes true. */
  #pending: { blocks: number; checksum: number } | undefined;

  constructor(io: SpareIo, set: ReplicaSet, start: JournalStart) {
    this.#io = io;
    this.#set = set;
    this.#sessionNonce = start.sessionNonce;
    this.#generation = start.generation;
    this.#journal = start.journal;
    this.#lastSequence = start.lastSequence;
    this.#acknowledgedSequence = start.lastSequence;
    this.#positions = set.replicas.map(() => 0);
  }

  get sessionNonce(): Uint8Array {
    return this.#sessionNonce;
  }

  /** Generation that blocks are written with. */
  get generation(): number {
    return this.#generation;
  }

  get journal(): 0 | 1 {
    return this.#journal;
  }

  get otherJournal(): 0 | 1 {
    return this.#journal === 0 ? 1 : 0;
  }

  /** The last sequence number that is durable, or was given up. */
  get lastSequence(): number {
    return this.#lastSequence;
  }

  /** The last sequence number that is durable. */
  get acknowledgedSequence(): number {
    return this.#acknowledgedSequence;
  }

  get usedBlocks(): number {
    return Math.max(0, ...this.#set.writable().map((replica) => this.#positions[replica.index]!));
  }

  hasRoomFor(blocks: number): boolean {
    return this.usedBlocks + blocks <= this.#set.shared.layout.journalBlocks;
  }

  /**
   * Another session begins with the next generation; no block of it follows one of the last. Returns what `returnTo` takes.
   */
  renewSession(sessionNonce: Uint8Array): JournalBefore {
    assert(this.#pending === undefined, 'a session begins between two batches');
    const before: JournalBefore = {
      sessionNonce: this.#sessionNonce,
      generation: this.#generation,
      journal: this.#journal,
      lastSequence: this.#lastSequence,
      acknowledgedSequence: this.#acknowledgedSequence,
      predecessorChecksum: this.#predecessorChecksum,
      positions: [...this.#positions],
    };
    this.#sessionNonce = sessionNonce;
    this.#predecessorChecksum = 0;
    return before;
  }

  /** The session goes on that was there before `renewSession`, where it was. */
  returnTo(before: JournalBefore): void {
    assert(this.#pending === undefined, 'a session goes on between two batches');
    this.#sessionNonce = before.sessionNonce;
    this.#generation = before.generation;
    this.#journal = before.journal;
    this.#lastSequence = before.lastSequence;
    this.#acknowledgedSequence = before.acknowledgedSequence;
    this.#predecessorChecksum = before.predecessorChecksum;
    before.positions.forEach((position, replica) => {
      this.#positions[replica] = position;
    });
  }

  /** Goes on in the other journal. What is there belongs to a generation that no superblock names any more. */
  switchTo(generation: number): void {
    assert(generation > this.#generation && this.#pending === undefined, 'generations follow each other');
    this.#generation = generation;
    this.#journal = this.otherJournal;
    this.#positions.fill(0);
  }

  /** Writes one block for each group of records to all replicas that take part, at the same time. Does not flush. */
  async write(groups: readonly (readonly MappingRecord[])[]): Promise<JournalOutcome> {
    assert(
      this.hasRoomFor(groups.length) && this.#pending === undefined,
      'one batch at a time, with room for it',
    );
    const replicas = this.#set.writable();
    const members = this.#set.inSync().length;
    const failures = await this.#io.withPiece(groups.length, (piece) => {
      this.#pending = { blocks: groups.length, checksum: this.#encode(piece, groups) };
      return Promise.all(replicas.map((replica) => this.#writeTo(replica, piece)));
    });
    const failed = replicas.filter((_, index) => failures[index] !== undefined);
    const wholeSpare = failures.some((failure) => failure !== undefined && !isPlaceFault(failure));
    const failedMembers = failed.filter(({ state }) => state === 'in-sync').length;
    if (wholeSpare || failedMembers >= members) {
      return failures.some((failure) => failure?.kind === 'timed-out') ? 'late' : 'in-doubt';
    }
    replicas.forEach((replica, index) => {
      if (failures[index] !== undefined) this.#set.markFailed(replica, failures[index]);
    });
    return 'written';
  }

  /** The batch is durable: the next one follows it. */
  confirm(): void {
    const pending = this.#takePending();
    this.#lastSequence += pending.blocks;
    this.#acknowledgedSequence = this.#lastSequence;
    this.#set.noteReached(this.#lastSequence);
    this.#predecessorChecksum = pending.checksum;
  }

  /** The batch is in doubt: its numbers are never given again, and what follows is not chained to it. */
  giveUp(): void {
    const pending = this.#takePending();
    this.#lastSequence += pending.blocks;
    this.#predecessorChecksum = 0;
  }

  #takePending(): { blocks: number; checksum: number } {
    const pending = this.#pending;
    assert(pending !== undefined, 'a batch was written');
    this.#pending = undefined;
    return pending;
  }

  /** Fills the piece with the chained blocks; the CRC of the last. */
  #encode(piece: Uint8Array, groups: readonly (readonly MappingRecord[])[]): number {
    let predecessorChecksum = this.#predecessorChecksum;
    const { uuid, layout } = this.#set.shared;
    groups.forEach((records, index) => {
      const header = {
        kind: 'journal',
        uuid,
        generation: this.#generation,
        sessionNonce: this.#sessionNonce,
        sequence: this.#lastSequence + 1 + index,
        firstSequence: this.#lastSequence + 1,
        predecessorChecksum,
      } as const;
      predecessorChecksum = encodeRecordBlock(blockOf(piece, index), header, records, layout);
    });
    return predecessorChecksum;
  }

  /** Undefined when the replica has the blocks; else why not. */
  async #writeTo(replica: Replica, piece: Uint8Array): Promise<DeviceError | undefined> {
    const { journalBlocks } = this.#set.shared.layout;
    const blocks = piece.byteLength / blockBytes;
    const start = replica.place.journalOffsets[this.#journal];
    let failure: DeviceError | undefined;
    for (let attempt = 0; attempt <= rehomeMax; attempt += 1) {
      const position = this.#positions[replica.index]!;
      if (position + blocks > journalBlocks) break;
      this.#positions[replica.index] = position + blocks;
      try {
        await this.#io.write(piece, start + position * blockBytes);
        return undefined;
      } catch (error) {
        failure = asDeviceError(error);
        if (!isPlaceFault(failure) || failure.kind === 'timed-out') break;
      }
    }
    return failure;
  }
}
