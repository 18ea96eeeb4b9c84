import { assert } from '../block/assert.ts';
import { delay } from '../block/clock.ts';
import { asDeviceError } from '../block/device-error.ts';
import { type Batch, CommitQueue, type WaitingCommit } from './commit-queue.ts';
import { createMetadata } from './create-metadata.ts';
import type { DeviceProperties } from './device-properties.ts';
import { writeGeneration } from './generation-writer.ts';
import { JournalWriter } from './journal-writer.ts';
import type { SpareLayout } from './layout.ts';
import type { MappingRecord, MappingStateSource } from './mapping-state.ts';
import { MetadataError } from './metadata-error.ts';
import { type OpenedState, openMetadata } from './open-metadata.ts';
import type {
  CreateParameters,
  DeviceFacts,
  MetadataParts,
  OpenOptions,
  OpenReport,
  RecordSink,
} from './opened-metadata.ts';
import { encodeProperties } from './property-codec.ts';
import { recordsPerBlock } from './record-block.ts';
import { ReplicaSet } from './replica-set.ts';
import { SpareIo } from './spare-io.ts';
import { knownFeatures, propertyBytesMax } from './superblock.ts';

export type { DeviceProperties } from './device-properties.ts';
export { MetadataError, type MetadataErrorCode } from './metadata-error.ts';
export type {
  CreateParameters,
  DeviceFacts,
  MetadataParts,
  OpenOptions,
  OpenReport,
  RecordSink,
  ReplicaCondition,
  ReplicaReport,
} from './opened-metadata.ts';

/** Blocks of one batch: one request of 64 KiB. */
const batchBlocksMax = 16;
/** How long the store tries to settle what is in doubt, or to write a checkpoint while the journal is full. */
const settleTimeoutMs = 15_000;
const retryDelayMs = 100;
const retryDelayMaxMs = 2_000;

export interface OpenedMetadata {
  readonly store: MetadataStore;
  readonly facts: DeviceFacts;
  readonly layout: SpareLayout;
  /**
   * Checkpoint, then journal, in the order they must be applied. Empty with a sink. Two granules may claim one slot until
   * the last record is applied (a checkpoint is not of one moment): derive the allocator afterwards.
   */
  readonly records: readonly MappingRecord[];
  readonly report: OpenReport;
}

export interface CommitOptions {
  /**
   * Flush the spare before the record is written, so that all writes to it that settled before the call are durable first.
   * Default true; false for records that name no new data (marks, retired slots) and for data written with FUA.
   */
  readonly dataFlush?: boolean;
  /** `MetadataStore.flushEpoch`, read before the first data write. Another epoch now: the data is in doubt, not committed. */
  readonly dataEpoch?: number;
  /**
   * Called once, synchronously, when the records are durable on all in-sync replicas, before the promise resolves: the
   * caller changes the live table here. It must be here, not behind `await commit()`: a checkpoint that begins in between
   * would miss the records. A caller that changed the table before the call (facts such as `unreadable`) leaves it out.
   */
  readonly activate?: () => void;
}

export interface SettleOptions {
  /** Replaces the properties of the superblock (a new path hint, for one). */
  readonly properties?: DeviceProperties;
}

/**
 * - `unsettled`  opened; nothing was written yet
 * - `open`       commits are taken
 * - `failed`     a commit is in doubt and could not be settled: no more writes
 * - `closed`     after `close`
 */
export type MetadataState = 'unsettled' | 'open' | 'failed' | 'closed';

export interface MetadataStatus {
  readonly state: MetadataState;
  readonly uuid: string;
  readonly replicasInSync: number;
  readonly replicasTotal: number;
  readonly generation: number;
  /** Sequence number of the last journal block that is durable. */
  readonly sequence: number;
  readonly journalBlocksUsed: number;
  readonly journalBlocks: number;
  /** Commit calls that resolved. */
  readonly commits: number;
  /** Batches they were written in. */
  readonly batches: number;
  /** Flushes sent to the spare, for whomever. */
  readonly flushes: number;
  readonly checkpoints: number;
  readonly checkpointsFailed: number;
  readonly checkpointRunning: boolean;
}

/** The metadata of one spare: created, opened, settled, then kept. Does not own the spare. */
export class MetadataStore {
  readonly #parts: MetadataParts;
  readonly #io: SpareIo;
  readonly #set: ReplicaSet;
  readonly #opened: OpenedState;
  readonly #queue: CommitQueue;
  readonly #batchBlocksMax: number;
  #journal: JournalWriter | undefined;
  #source: MappingStateSource | undefined;
  #sessionNonce: Uint8Array = new Uint8Array(8);
  #state: MetadataState = 'unsettled';
  /** Runs while commits wait. */
  #pump: Promise<void> | undefined;
  #checkpoint: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  /** Since when checkpoints have failed without one that succeeded, and when the next may be tried. */
  #failingSinceMs: number | undefined;
  #nextCheckpointMs = 0;
  #commits = 0;
  #batches = 0;
  #checkpoints = 0;
  #checkpointsFailed = 0;

  private constructor(parts: MetadataParts, io: SpareIo, opened: OpenedState) {
    this.#parts = parts;
    this.#io = io;
    this.#opened = opened;
    this.#set = new ReplicaSet(io, opened.replicas, opened.shared);
    this.#queue = new CommitQueue(io.flusher);
    io.flusher.onFailure = () => this.#queue.poison();
    // A batch takes at most a quarter, so that a journal that is half full has room while the next checkpoint is written.
    const quarter = Math.floor(opened.layout.journalBlocks / 4);
    this.#batchBlocksMax = Math.min(batchBlocksMax, io.pieceBlocks, quarter);
  }

  /** Makes the spare ours (M6). What it held is gone. It is then opened like any other. Rejects with a `MetadataError`. */
  static create(parts: MetadataParts, parameters: CreateParameters): Promise<void> {
    return createMetadata(parts, parameters);
  }

  /** Reads everything, writes nothing. Refuses with a `MetadataError`; its message is for people. */
  static async open(parts: MetadataParts, options: OpenOptions = {}): Promise<OpenedMetadata> {
    const io = new SpareIo(parts.spare, parts.arena, parts.clock);
    let records: MappingRecord[] = [];
    const collect: RecordSink = {
      begin: () => {
        records = [];
      },
      add: (more) => {
        for (const record of more) records.push(record);
      },
    };
    const opened = await openMetadata(io, options.sink ?? collect, options.force ?? false);
    const store = new MetadataStore(parts, io, opened);
    return { store, facts: opened.facts, layout: opened.layout, records, report: opened.report };
  }

  /**
   * M5: writes the state that `source` holds as a checkpoint of a new generation to every replica that takes it. Before the
   * first I/O and the first `commit`; `source` holds what `open` gave and stays the source of all later checkpoints.
   * Rejects with a `MetadataError`; the spare can then still be opened as before.
   */
  async settle(source: MappingStateSource, options: SettleOptions = {}): Promise<void> {
    assert(this.#state === 'unsettled', 'a store is settled once');
    this.#refuseReadOnlyFeatures();
    const unknown = this.#set.shared.properties.unknown;
    const properties = { properties: options.properties ?? this.#opened.facts.properties, unknown };
    encodeProperties(properties, propertyBytesMax);
    this.#set.change({ cleanlyClosed: false, properties });
    this.#parts.random.fill(this.#sessionNonce);
    this.#source = source;
    const { nextGeneration: generation, lastSequence } = this.#opened;
    const replicas = this.#set.replicas;
    // Those that can be opened now are written first: each is safe before the next loses what it had.
    const targets = [...this.#set.inSync(), ...replicas.filter(({ state }) => state !== 'in-sync')];
    try {
      await writeGeneration(this.#io, this.#set, {
        generation,
        lastSequence,
        journal: 0,
        sessionNonce: this.#sessionNonce,
        source,
        targets,
      });
      await this.#forgetOlderGenerations();
    } catch (error) {
      const failure = asDeviceError(error);
      throw new MetadataError(
        'METADATA_SETTLE_FAILED',
        `${this.#io.spare.name}: the metadata cannot be written (${failure.message}): the device opens read-only at most; replace the spare`,
        failure,
      );
    }
    this.#journal = new JournalWriter(this.#io, this.#set, {
      sessionNonce: this.#sessionNonce,
      generation,
      journal: 0,
      lastSequence,
    });
    this.#state = 'open';
  }

  /**
   * Resolves when the records are durable on every in-sync replica. At most `recordsPerCommitMax`; up to 83 of one call are
   * kept or lost together. Rejects with `METADATA_NOT_COMMITTED` (definitely not durable, nothing activated: write the data
   * again, to fresh slots), `METADATA_FAILED` (accept no more writes) or `METADATA_CLOSED`.
   */
  commit(records: readonly MappingRecord[], options: CommitOptions = {}): Promise<void> {
    assert(records.length > 0 && records.length <= this.recordsPerCommitMax, 'a commit has 1 to max records');
    assert(this.#state !== 'unsettled', 'nothing is committed before the store is settled (M5)');
    if (this.#closing !== undefined) return Promise.reject(closedError());
    if (this.#state === 'failed') return Promise.reject(failedError());
    const dataFlush = options.dataFlush ?? true;
    if (options.dataEpoch !== undefined && options.dataEpoch !== this.flushEpoch) {
      return Promise.reject(notCommittedError());
    }
    return new Promise((resolve, reject) => {
      const { activate } = options;
      const arrival = this.#io.flusher.submitted;
      this.#queue.add({ records, activate, dataFlush, arrival, resolve, reject });
      this.#pump ??= this.#pumpCommits();
    });
  }

  /**
   * Flushes the spare: everything that settled before the call is durable. The one way to flush it, so that clients and
   * commits share flushes; joins only a flush not yet submitted (R22). Rejects with the device's error, once (R7).
   */
  flushSpare(): Promise<void> {
    return this.#io.flusher.flush();
  }

  /** Grows with each failed flush of the spare: data written and not yet flushed then is in doubt (R7). */
  get flushEpoch(): number {
    return this.#io.flusher.epoch;
  }

  get recordsPerCommitMax(): number {
    return this.#batchBlocksMax * recordsPerBlock;
  }

  get state(): MetadataState {
    return this.#state;
  }

  status(): MetadataStatus {
    const journal = this.#journal;
    return {
      state: this.#state,
      uuid: this.#opened.facts.uuid,
      replicasInSync: this.#set.inSync().length,
      replicasTotal: this.#set.replicas.length,
      generation: journal?.generation ?? this.#opened.facts.generation,
      sequence: journal?.lastSequence ?? this.#opened.facts.lastSequence,
      journalBlocksUsed: journal?.usedBlocks ?? 0,
      journalBlocks: this.#opened.layout.journalBlocks,
      commits: this.#commits,
      batches: this.#batches,
      flushes: this.#io.flusher.submitted,
      checkpoints: this.#checkpoints,
      checkpointsFailed: this.#checkpointsFailed,
      checkpointRunning: this.#checkpoint !== undefined,
    };
  }

  /** Waits for running work, marks the superblocks clean, flushes. Idempotent, does not reject, does not close the spare. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#pump;
    await this.#checkpoint;
    if (this.#state === 'open') {
      try {
        this.#set.change({ cleanlyClosed: true });
        await this.#set.rewriteMembers();
      } catch (error) {
        // The mark is only a mark: without it the next open says that the session did not end well.
        asDeviceError(error);
      }
    }
    this.#state = 'closed';
  }

  async #pumpCommits(): Promise<void> {
    while (!this.#queue.isEmpty) {
      for (const commit of this.#queue.takePoisoned()) commit.reject(notCommittedError());
      if (this.#state === 'failed') {
        for (const commit of this.#queue.takeAll()) commit.reject(failedError());
        break;
      }
      const batch = this.#queue.takeBatch(this.#batchBlocksMax);
      if (batch === undefined) await this.#flushData();
      else await this.#commitBatch(batch);
    }
    this.#pump = undefined;
  }

  /** One flush for the data of all that wait. When it fails the queue has poisoned them. */
  async #flushData(): Promise<void> {
    if (this.#queue.isEmpty) return;
    try {
      await this.#io.flusher.flush();
    } catch (error) {
      asDeviceError(error);
    }
  }

  async #commitBatch(batch: Batch): Promise<void> {
    const journal = this.#openJournal();
    if (!(await this.#makeRoom(journal, batch.groups.length))) {
      this.#fail(batch.commits);
      return;
    }
    const epoch = this.#io.flusher.epoch;
    const outcome = await journal.write(batch.groups);
    if (outcome !== 'written' || !(await this.#makeDurable(epoch))) {
      journal.giveUp();
      await this.#settleDoubt(journal, batch, outcome === 'late');
      return;
    }
    journal.confirm();
    this.#batches += 1;
    // First all tables, then all callers: what a caller does next sees the whole batch.
    for (const commit of batch.commits) commit.activate?.();
    for (const commit of batch.commits) commit.resolve();
    this.#commits += batch.commits.length;
    if (journal.usedBlocks * 2 >= this.#opened.layout.journalBlocks) this.#startCheckpoint(journal);
  }

  /** Flush, and M2: no ack while a replica has failed and the superblocks do not say so. */
  async #makeDurable(epoch: number): Promise<boolean> {
    try {
      if (this.#set.isConsistent) await this.#io.flusher.flush();
      while (!this.#set.isConsistent) await this.#set.excludeFailed();
      this.#io.checkFlushed(epoch);
      return true;
    } catch (error) {
      asDeviceError(error);
      return false;
    }
  }

  /** M8: the journal is full; commits wait for the checkpoint. False when none could be written for too long. */
  async #makeRoom(journal: JournalWriter, blocks: number): Promise<boolean> {
    while (!journal.hasRoomFor(blocks)) {
      this.#startCheckpoint(journal);
      await this.#checkpoint;
      if (journal.hasRoomFor(blocks)) break;
      const now = this.#parts.clock.nowMs();
      const failing = this.#failingSinceMs !== undefined && now - this.#failingSinceMs >= settleTimeoutMs;
      if (failing || this.#set.hasLateWrite) return false;
      if (now < this.#nextCheckpointMs) await delay(this.#parts.clock, this.#nextCheckpointMs - now);
    }
    return true;
  }

  /** Between batches only: everything durable is in the table then, so the snapshot may begin. */
  #startCheckpoint(journal: JournalWriter): void {
    if (this.#checkpoint !== undefined || this.#set.hasLateWrite) return;
    if (this.#failingSinceMs !== undefined && this.#parts.clock.nowMs() < this.#nextCheckpointMs) return;
    const published = this.#set
      .inSync()
      .every(({ checkpoint }) => checkpoint.generation === journal.generation);
    // After a failed attempt the journal is this generation's already.
    if (published) journal.switchTo(journal.generation + 1);
    this.#checkpoint = this.#runCheckpoint(journal);
  }

  async #runCheckpoint(journal: JournalWriter): Promise<void> {
    try {
      await writeGeneration(this.#io, this.#set, {
        generation: journal.generation,
        lastSequence: journal.lastSequence,
        journal: journal.journal,
        sessionNonce: this.#sessionNonce,
        source: this.#openSource(),
        targets: this.#set.inSync(),
      });
      if (!this.#set.isConsistent) await this.#set.excludeFailed();
      this.#checkpoints += 1;
      this.#failingSinceMs = undefined;
    } catch (error) {
      asDeviceError(error);
      const now = this.#parts.clock.nowMs();
      this.#checkpointsFailed += 1;
      this.#failingSinceMs ??= now;
      this.#nextCheckpointMs = now + retryDelay(now - this.#failingSinceMs);
    }
    this.#checkpoint = undefined;
  }

  /**
   * M1: the batch may be on some replica. A checkpoint of a higher generation without it, on all in-sync replicas and in
   * both superblock slots, makes it never have happened. Until then nothing else is committed.
   */
  async #settleDoubt(journal: JournalWriter, batch: Batch, late: boolean): Promise<void> {
    await this.#checkpoint;
    const { clock } = this.#parts;
    const sinceMs = clock.nowMs();
    const generation = journal.generation + 1;
    while (!late && !this.#set.hasLateWrite) {
      try {
        await writeGeneration(this.#io, this.#set, {
          generation,
          lastSequence: journal.lastSequence,
          journal: journal.otherJournal,
          sessionNonce: this.#sessionNonce,
          source: this.#openSource(),
          targets: this.#set.inSync(),
        });
        await this.#forgetOlderGenerations();
        journal.switchTo(generation);
        for (const commit of batch.commits) commit.reject(notCommittedError());
        return;
      } catch (error) {
        asDeviceError(error);
      }
      const passedMs = clock.nowMs() - sinceMs;
      if (passedMs >= settleTimeoutMs) break;
      await delay(clock, retryDelay(passedMs));
    }
    this.#fail(batch.commits);
  }

  /** The second superblock slots too, so that no reader can fall back to what a new generation was written to undo. */
  async #forgetOlderGenerations(): Promise<void> {
    for (const replica of this.#set.inSync()) {
      try {
        await this.#set.publish(replica, replica.checkpoint);
      } catch (error) {
        asDeviceError(error);
        if (replica.state !== 'failed') throw error;
      }
    }
    while (!this.#set.isConsistent) await this.#set.excludeFailed();
  }

  #fail(commits: readonly WaitingCommit[]): void {
    this.#state = 'failed';
    for (const commit of commits) commit.reject(failedError());
  }

  #refuseReadOnlyFeatures(): void {
    const unknown = (this.#set.shared.features.readOnlyCompatible & ~knownFeatures.readOnlyCompatible) >>> 0;
    if (unknown === 0) return;
    throw new MetadataError(
      'METADATA_UNKNOWN_FEATURE',
      `${this.#io.spare.name}: uses features 0x${unknown.toString(16)} that this program may only read: use a newer dm-remap`,
    );
  }

  #openJournal(): JournalWriter {
    assert(this.#journal !== undefined, 'the store is settled');
    return this.#journal;
  }

  #openSource(): MappingStateSource {
    assert(this.#source !== undefined, 'the store is settled');
    return this.#source;
  }
}

/** Doubles with the time that has passed, so that a spare that comes back is seen soon and one that does not costs little. */
function retryDelay(passedMs: number): number {
  return Math.min(retryDelayMaxMs, Math.max(retryDelayMs, passedMs));
}

function notCommittedError(): MetadataError {
  return new MetadataError(
    'METADATA_NOT_COMMITTED',
    'the spare failed while the record was written, and the record is not there: write the data again, to fresh slots',
  );
}

function failedError(): MetadataError {
  return new MetadataError(
    'METADATA_FAILED',
    'the spare cannot keep the metadata any more: no more writes are accepted; replace or reconnect the spare, then assemble',
  );
}

function closedError(): MetadataError {
  return new MetadataError('METADATA_CLOSED', 'the metadata is closed');
}
