import { assert } from '../block/assert.ts';
import { asDeviceError } from '../block/device-error.ts';
import { CommitPipeline, failedError, notCommittedError } from './commit-pipeline.ts';
import { createMetadata } from './create-metadata.ts';
import type { DeviceProperties } from './device-properties.ts';
import { forgetOlderGenerations, writeGeneration } from './generation-writer.ts';
import { InUse } from './in-use.ts';
import type { SpareLayout } from './layout.ts';
import type { MappingRecord, MappingStateSource } from './mapping-state.ts';
import type { MemberEntry, MemberTable } from './member-table.ts';
import { MetadataError } from './metadata-error.ts';
import type { MetadataState, MetadataStatus } from './metadata-status.ts';
import { type OpenedState, openMetadata } from './open-metadata.ts';
import type {
  CreateParameters,
  DeviceFacts,
  MetadataParts,
  OpenOptions,
  OpenReport,
  RecordSink,
} from './opened-metadata.ts';
import { encodeProperties, type PropertyArea } from './property-codec.ts';
import { recordsPerBlock } from './record-block.ts';
import { lookAtReplicas, type ReplicaLook, type ReplicaVerdict } from './replica-look.ts';
import { ReplicaSet } from './replica-set.ts';
import { SpareIo } from './spare-io.ts';
import type { CommitOptions, SettleOptions } from './store-options.ts';
import { knownFeatures, propertyBytesMax } from './superblock.ts';
import { SuperblockUpdates } from './superblock-updates.ts';
import { hexText } from './uuid.ts';

export type { DeviceProperties } from './device-properties.ts';
export type { HostIdentity } from './in-use.ts';
export { heartbeatIntervalMs } from './in-use.ts';
export type { InUseMark, MarkedProcess } from './in-use-mark.ts';
export { MetadataError, type MetadataErrorCode } from './metadata-error.ts';
export type { MetadataState, MetadataStatus } from './metadata-status.ts';
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

export type { ReplicaVerdict } from './replica-look.ts';
export type { CommitOptions, SettleOptions } from './store-options.ts';

/** Blocks of one batch: one request of 64 KiB. */
const batchBlocksMax = 16;

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

/** What `openReadOnly` gives. */
export type ReadMetadata = Omit<OpenedMetadata, 'store'>;

/** The metadata of one spare: created, opened, settled, then kept. Does not own the spare. */
export class MetadataStore {
  readonly #parts: MetadataParts;
  readonly #io: SpareIo;
  readonly #set: ReplicaSet;
  readonly #opened: OpenedState;
  readonly #batchBlocksMax: number;
  /** Once settled, where a host was named. */
  #inUse: InUse | undefined;
  /** Somebody else has the spare. */
  #taken: MetadataError | undefined;
  /** Once settled. */
  #pipeline: CommitPipeline | undefined;
  /** Once settled. */
  #updates: SuperblockUpdates | undefined;
  #closing: Promise<void> | undefined;
  #closed = false;
  #closedCleanly = false;

  private constructor(parts: MetadataParts, io: SpareIo, opened: OpenedState) {
    this.#parts = parts;
    this.#io = io;
    this.#opened = opened;
    this.#set = new ReplicaSet(io, opened.replicas, opened.shared);
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
    const { force = false, host, takeover = false } = options;
    const opened = await openMetadata(io, options.sink ?? collect, { force, host, takeover });
    const store = new MetadataStore(parts, io, opened);
    return { store, facts: opened.facts, layout: opened.layout, records, report: opened.report };
  }

  /** As `open`, for whoever only looks (M13): there is no store, so nothing is ever written, and nobody is asked (M11). */
  static async openReadOnly(
    parts: MetadataParts,
    options: Pick<OpenOptions, 'force' | 'sink'> = {},
  ): Promise<ReadMetadata> {
    const { store: _, ...read } = await MetadataStore.open(parts, options);
    return read;
  }

  /**
   * M5: writes the state that `source` holds as a checkpoint of a new generation to every replica that takes it. Before the
   * first I/O and the first `commit`; `source` holds what `open` gave and stays the source of all later checkpoints.
   * Rejects with a `MetadataError`; the spare can then still be opened as before.
   */
  async settle(source: MappingStateSource, options: SettleOptions = {}): Promise<void> {
    assert(this.state === 'unsettled', 'a store is settled once');
    this.#refuseReadOnlyFeatures();
    const properties = this.#settledProperties(options);
    encodeProperties(properties, propertyBytesMax);
    this.#set.change({ cleanlyClosed: false, properties, layout: this.#settledLayout(properties) });
    const sessionNonce = new Uint8Array(8);
    this.#parts.random.fill(sessionNonce);
    const { nextGeneration: generation, lastSequence } = this.#opened;
    const start = { sessionNonce, generation, journal: 0, lastSequence } as const;
    const replicas = this.#set.replicas;
    // Those that can be opened now are written first: each is safe before the next loses what it had.
    const targets = [...this.#set.inSync(), ...replicas.filter(({ state }) => state !== 'in-sync')];
    const { judgement } = this.#opened;
    try {
      if (judgement !== undefined) {
        this.#inUse = new InUse(this.#io, this.#set.shared, judgement, hexText(sessionNonce));
        await this.#inUse.claim();
      }
      await writeGeneration(this.#io, this.#set, { ...start, source, targets });
      await forgetOlderGenerations(this.#set);
    } catch (error) {
      if (error instanceof MetadataError) throw error;
      const failure = asDeviceError(error);
      throw new MetadataError(
        'METADATA_SETTLE_FAILED',
        `${this.#io.spare.name}: the metadata cannot be written (${failure.message}): the device opens read-only at most; replace the spare`,
        failure,
      );
    }
    this.#pipeline = new CommitPipeline(this.#io, this.#set, source, start, this.#batchBlocksMax);
    this.#updates = new SuperblockUpdates(this.#io, this.#set);
  }

  /**
   * A device that has one spare again says no more of others, where the caller says so: the checkpoint that follows must then
   * name nothing behind its end, not even slots that proved bad there.
   */
  #settledProperties(options: SettleOptions): PropertyArea {
    const { properties: before } = this.#set.shared;
    const { members: table, ...others } = before;
    const properties = { ...others, properties: options.properties ?? this.#opened.facts.properties };
    if (table === undefined || options.members?.length === 0) return properties;
    return { ...properties, members: { ...table, members: options.members ?? table.members } };
  }

  #settledLayout({ members }: PropertyArea): SpareLayout {
    const { layout } = this.#set.shared;
    return layout.withRow(members?.rowBytes ?? layout.spareSizeBytes);
  }

  /**
   * The spares beside this one are others from now on; on every in-sync replica when it resolves. `lostRangesMax` may become
   * less, for the sake of more slots. Rejects as `updateProperties`.
   */
  updateMembers(
    change: (before: MemberTable | undefined) => MemberTable,
    lostRangesMax?: number,
  ): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(closedError());
    assert(this.#updates !== undefined, 'spares come and go after the store is settled (M5)');
    if (this.state === 'failed') return Promise.reject(this.#taken ?? failedError());
    return this.#updates.members(change, lostRangesMax);
  }

  /** As it is now: it changes with the spares beside this one, and with main. */
  get layout(): SpareLayout {
    return this.#set.shared.layout;
  }

  /** The spares beside this one, as they are now. */
  get members(): readonly MemberEntry[] {
    return this.#set.shared.properties.members?.members ?? [];
  }

  /** The device's, sixteen bytes. */
  get uuid(): Uint8Array {
    return this.#set.shared.uuid;
  }

  /**
   * Changes name, identities or policies; what `change` does not name stays. On every in-sync replica when it resolves, at
   * any time beside commits and checkpoints. Rejects with `METADATA_PROPERTIES_TOO_LARGE` (nothing changed),
   * `METADATA_FAILED` (a crash now may leave either) or `METADATA_CLOSED`.
   */
  updateProperties(change: Partial<DeviceProperties>): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(closedError());
    assert(this.#updates !== undefined, 'properties change after the store is settled (M5)');
    if (this.state === 'failed') return Promise.reject(this.#taken ?? failedError());
    return this.#updates.properties(change);
  }

  /**
   * Resolves when the records are durable on every in-sync replica. At most `recordsPerCommitMax`; up to 83 of one call are
   * kept or lost together. Rejects with `METADATA_NOT_COMMITTED` (definitely not durable, nothing activated: write the data
   * again, to fresh slots), `METADATA_FAILED` (accept no more writes) or `METADATA_CLOSED`.
   */
  commit(records: readonly MappingRecord[], options: CommitOptions = {}): Promise<void> {
    assert(records.length > 0 && records.length <= this.recordsPerCommitMax, 'a commit has 1 to max records');
    if (this.#closing !== undefined) return Promise.reject(closedError());
    const pipeline = this.#pipeline;
    assert(pipeline !== undefined, 'nothing is committed before the store is settled (M5)');
    if (pipeline.failed) return Promise.reject(this.#taken ?? failedError());
    const dataFlush = options.dataFlush ?? true;
    if (options.dataEpoch !== undefined && options.dataEpoch !== this.flushEpoch) {
      return Promise.reject(notCommittedError());
    }
    return new Promise((resolve, reject) => {
      pipeline.add({ records, activate: options.activate, dataFlush, resolve, reject });
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

  /**
   * M21: from now on the device is this large, a whole number of main's logical blocks; while it is suspended. What is behind
   * the size at creation is not fresh (R13). Rejects as `updateProperties`, or with `METADATA_MAIN_SHRUNK`.
   */
  updateMainSize(mainSizeBytes: number): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(closedError());
    assert(this.#updates !== undefined, 'a size changes after the store is settled (M5)');
    if (this.state === 'failed') return Promise.reject(this.#taken ?? failedError());
    return this.#updates.mainSize(mainSizeBytes);
  }

  /**
   * One attempt to leave the state `failed`, for a spare that answers again: everything in doubt is made never to have
   * happened (M1), on every replica that takes it. Does nothing in the state `open`. Rejects with `METADATA_FAILED`; may be
   * called again then.
   */
  recover(): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(closedError());
    assert(this.#pipeline !== undefined, 'what is recovered was settled (M5)');
    return this.#taken === undefined ? this.#pipeline.recover() : Promise.reject(this.#taken);
  }

  /**
   * `exchange` makes the spare below another disk, emptied by `emptySpare`, in a moment in which nothing is on its way to the
   * old one: the state goes there as a checkpoint of a new session, with these properties; with `needsAll` on every replica, not
   * only on one. While nothing is committed. Rejects
   * with a `MetadataError`; the new disk may then be openable only when `sentSuperblock` says so. This may be called again, or
   * undone by `goBack`.
   */
  async startAnew(change: Partial<DeviceProperties>, exchange: () => void, needsAll: boolean): Promise<void> {
    if (this.#closing !== undefined) throw closedError();
    const pipeline = this.#pipeline;
    assert(pipeline !== undefined, 'a store is settled before its spare is replaced (M5)');
    if (this.#taken !== undefined) throw this.#taken;
    const sessionNonce = new Uint8Array(8);
    this.#parts.random.fill(sessionNonce);
    const begin = (): void => {
      const { properties: area } = this.#set.shared;
      const properties = { ...area, properties: { ...area.properties, ...change } };
      encodeProperties(properties, propertyBytesMax);
      this.#set.change({ cleanlyClosed: false, properties });
      exchange();
    };
    const claim = async (): Promise<void> => {
      await this.#inUse?.renew(hexText(sessionNonce));
    };
    await pipeline.startAnew(sessionNonce, begin, claim, needsAll);
  }

  /** `startAnew` has failed, and a superblock was sent to the new disk: it may be there. */
  get sentSuperblock(): boolean {
    return this.#pipeline?.sentSuperblock ?? false;
  }

  /**
   * `startAnew` has failed and the spare below is the disk again that it was before: the session goes on there, and nothing but
   * superblocks with these properties is written. Rejects as `updateProperties`: the session goes on all the same.
   */
  async goBack(change: Partial<DeviceProperties>): Promise<void> {
    const pipeline = this.#pipeline;
    assert(pipeline !== undefined, 'a store that began anew was settled (M5)');
    await this.#inUse?.goBack();
    await pipeline.goBack();
    await this.updateProperties(change);
  }

  /**
   * M11: says on the spare that this session is alive; every `heartbeatIntervalMs`. False when the spare did not take it.
   * Rejects with `METADATA_IN_USE` when somebody else has taken the spare over: nothing is written to it any more, and its
   * owner must not write to main either.
   */
  async heartbeat(): Promise<boolean> {
    if (this.#inUse === undefined || this.#closing !== undefined) return true;
    try {
      return await this.#inUse.beat();
    } catch (error) {
      if (!(error instanceof MetadataError)) throw error;
      this.#isTaken(error);
      throw error;
    }
  }

  /**
   * Takes replicas that left the set in again, with the next checkpoint (M2). Resolves when each is a member or has failed
   * once more: `status` says which. Commits go on meanwhile.
   */
  repairReplicas(): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(closedError());
    assert(this.#pipeline !== undefined, 'replicas are repaired after the store is settled (M5)');
    return this.#pipeline.repair();
  }

  /**
   * Reads back what every replica in sync has: superblock, checkpoint, journal. When one is bad all are written anew from the
   * live table, and read again (I25). Commits go on meanwhile. Rejects with the device's error when the spare does not
   * answer, or with `METADATA_CLOSED`.
   */
  async verifyReplicas(): Promise<ReplicaVerdict> {
    if (this.#closing !== undefined) throw closedError();
    const pipeline = this.#pipeline;
    assert(pipeline !== undefined, 'replicas are verified after the store is settled (M5)');
    const look = (): Promise<ReplicaLook> => lookAtReplicas(this.#io, this.#set, pipeline.journal);
    // An outage may have taken all of them out of the set.
    if (this.#set.inSync().length === 0) await pipeline.repair();
    const first = await look();
    if (first.bad.length === 0) return { checked: first.checked, bad: 0, repaired: 0 };
    await pipeline.repair(true);
    const second = await look();
    const repaired = first.bad.filter((index) => second.good.includes(index)).length;
    return { checked: first.checked, bad: first.bad.length, repaired };
  }

  /** Resolves when no commit and no checkpoint is under way; nothing may be committed meanwhile. */
  async quiet(): Promise<void> {
    await this.#pipeline?.drained();
  }

  /** To be called when the spare was opened anew: what was written to it and not yet flushed is in doubt (R7, R32). */
  poisonFlushes(): void {
    this.#io.flusher.poison();
  }

  get recordsPerCommitMax(): number {
    return this.#batchBlocksMax * recordsPerBlock;
  }

  get state(): MetadataState {
    if (this.#closed) return 'closed';
    if (this.#pipeline === undefined) return 'unsettled';
    return this.#pipeline.failed ? 'failed' : 'open';
  }

  status(): MetadataStatus {
    const pipeline = this.#pipeline;
    const journal = pipeline?.journal;
    const counts = pipeline?.counts ?? { commits: 0, batches: 0, checkpoints: 0, checkpointsFailed: 0 };
    return {
      state: this.state,
      uuid: this.#opened.facts.uuid,
      replicasInSync: this.#set.inSync().length,
      replicasTotal: this.#set.replicas.length,
      generation: journal?.generation ?? this.#opened.facts.generation,
      sequence: journal?.lastSequence ?? this.#opened.facts.lastSequence,
      acknowledgedSequence: journal?.acknowledgedSequence ?? this.#opened.facts.lastSequence,
      sessionNonce: this.#pipeline?.sessionNonce ?? this.#opened.facts.sessionNonce,
      revision: this.#set.shared.revision,
      closedCleanly: this.#closedCleanly,
      journalBlocksUsed: journal?.usedBlocks ?? 0,
      journalBlocks: this.#opened.layout.journalBlocks,
      ...counts,
      flushes: this.#io.flusher.submitted,
      checkpointRunning: pipeline?.checkpointRunning ?? false,
    };
  }

  /** Waits for running work, marks the superblocks clean, flushes. Idempotent, does not reject, does not close the spare. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#lookForAnother();
    await this.#updates?.ended();
    await this.#pipeline?.drained();
    if (this.state === 'open') {
      try {
        this.#set.change({ cleanlyClosed: true });
        await this.#set.rewriteMembers();
        this.#closedCleanly = true;
      } catch (error) {
        // The mark is only a mark: without it the next open says that the session did not end well.
        asDeviceError(error);
      }
    }
    await this.#release();
    this.#closed = true;
  }

  /** M11: taken over since the last beat, this session must not say that it has ended, over what another one wrote. */
  async #lookForAnother(): Promise<void> {
    try {
      await this.#inUse?.beat();
    } catch (error) {
      if (!(error instanceof MetadataError)) throw error;
      this.#isTaken(error);
    }
  }

  #isTaken(error: MetadataError): void {
    this.#taken = error;
    this.#pipeline?.abandon();
  }

  /** The last write of a session. */
  async #release(): Promise<void> {
    if (this.#inUse === undefined || this.#taken !== undefined) return;
    try {
      if (await this.#inUse.release()) await this.#io.flusher.flush();
    } catch (error) {
      if (!(error instanceof MetadataError)) asDeviceError(error);
    }
  }

  #refuseReadOnlyFeatures(): void {
    const unknown = (this.#set.shared.features.readOnlyCompatible & ~knownFeatures.readOnlyCompatible) >>> 0;
    if (unknown === 0) return;
    throw new MetadataError(
      'METADATA_UNKNOWN_FEATURE',
      `${this.#io.spare.name}: uses features 0x${unknown.toString(16)} that this program may only read: use a newer dm-remap`,
    );
  }
}

function closedError(): MetadataError {
  return new MetadataError('METADATA_CLOSED', 'the metadata is closed');
}
