import { type Clock, delay } from '../block/clock.ts';
import { asDeviceError } from '../block/device-error.ts';
import { type Batch, CommitQueue, type WaitingCommit } from './commit-queue.ts';
import { forgetOlderGenerations, writeGeneration } from './generation-writer.ts';
import { type JournalStart, JournalWriter } from './journal-writer.ts';
import type { MappingStateSource } from './mapping-state.ts';
import { MetadataError } from './metadata-error.ts';
import type { ReplicaSet } from './replica-set.ts';
import { retryDelay, settleTimeoutMs } from './settle-retry.ts';
import type { SpareIo } from './spare-io.ts';
import { hexText } from './uuid.ts';

export interface PipelineCounts {
  /** Commit calls that resolved. */
  commits: number;
  /** Batches they were written in. */
  batches: number;
  checkpoints: number;
  checkpointsFailed: number;
}

/**
 * The commits of a settled store, one batch after the other, and the checkpoints that make room for them. Nothing here runs
 * while nobody commits.
 */
export class CommitPipeline {
  readonly counts: PipelineCounts = { commits: 0, batches: 0, checkpoints: 0, checkpointsFailed: 0 };
  readonly journal: JournalWriter;
  readonly #io: SpareIo;
  readonly #clock: Clock;
  readonly #set: ReplicaSet;
  readonly #source: MappingStateSource;
  readonly #sessionNonce: Uint8Array;
  readonly #batchBlocksMax: number;
  readonly #queue: CommitQueue;
  #failed = false;
  /** True while commits are taken from the queue; `#pump` is the last run of that. */
  #pumping = false;
  #pump: Promise<void> | undefined;
  #checkpoint: Promise<void> | undefined;
  /** Since when checkpoints have failed without one that succeeded, and when the next may be tried. */
  #failingSinceMs: number | undefined;
  #nextCheckpointMs = 0;

  constructor(
    io: SpareIo,
    set: ReplicaSet,
    source: MappingStateSource,
    start: JournalStart,
    batchBlocksMax: number,
  ) {
    this.#io = io;
    this.#clock = io.clock;
    this.#set = set;
    this.#source = source;
    this.#sessionNonce = start.sessionNonce;
    this.#batchBlocksMax = batchBlocksMax;
    this.journal = new JournalWriter(io, set, start);
    this.#queue = new CommitQueue(io.flusher);
    io.flusher.onFailure = () => this.#queue.poison();
  }

  /** A commit is in doubt and could not be settled: there will be no more. */
  get failed(): boolean {
    return this.#failed;
  }

  /** 16 hexadecimal digits. */
  get sessionNonce(): string {
    return hexText(this.#sessionNonce);
  }

  get checkpointRunning(): boolean {
    return this.#checkpoint !== undefined;
  }

  /** The commit is answered through its own `resolve` and `reject`. */
  add(commit: Omit<WaitingCommit, 'arrival'>): void {
    this.#queue.add({ ...commit, arrival: this.#io.flusher.submitted });
    if (this.#pumping) return;
    this.#pumping = true;
    this.#pump = this.#pumpCommits();
  }

  /** Resolves when every commit is answered and no checkpoint runs. Nothing is added meanwhile. */
  async drained(): Promise<void> {
    await this.#pump;
    await this.#checkpoint;
  }

  async #pumpCommits(): Promise<void> {
    while (!this.#queue.isEmpty) {
      for (const commit of this.#queue.takePoisoned()) commit.reject(notCommittedError());
      if (this.#failed) {
        for (const commit of this.#queue.takeAll()) commit.reject(failedError());
        break;
      }
      const batch = this.#queue.takeBatch(this.#batchBlocksMax);
      if (batch === undefined) await this.#flushData();
      else await this.#commitBatch(batch);
    }
    this.#pumping = false;
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
    const { journal } = this;
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
    this.counts.batches += 1;
    // First all tables, then all callers: what a caller does next sees the whole batch.
    for (const commit of batch.commits) commit.activate?.();
    for (const commit of batch.commits) commit.resolve();
    this.counts.commits += batch.commits.length;
    if (journal.usedBlocks * 2 >= this.#set.shared.layout.journalBlocks) this.#startCheckpoint(journal);
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
      const now = this.#clock.nowMs();
      const failing = this.#failingSinceMs !== undefined && now - this.#failingSinceMs >= settleTimeoutMs;
      if (failing || this.#set.hasLateWrite) return false;
      if (now < this.#nextCheckpointMs) await delay(this.#clock, this.#nextCheckpointMs - now);
    }
    return true;
  }

  /** Between batches only: everything durable is in the table then, so the snapshot may begin. */
  #startCheckpoint(journal: JournalWriter): void {
    if (this.#checkpoint !== undefined || this.#set.hasLateWrite) return;
    if (this.#failingSinceMs !== undefined && this.#clock.nowMs() < this.#nextCheckpointMs) return;
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
        source: this.#source,
        targets: this.#set.inSync(),
      });
      if (!this.#set.isConsistent) await this.#set.excludeFailed();
      this.counts.checkpoints += 1;
      this.#failingSinceMs = undefined;
    } catch (error) {
      asDeviceError(error);
      const now = this.#clock.nowMs();
      this.counts.checkpointsFailed += 1;
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
    const clock = this.#clock;
    const sinceMs = clock.nowMs();
    const generation = journal.generation + 1;
    while (!late && !this.#set.hasLateWrite) {
      try {
        await writeGeneration(this.#io, this.#set, {
          generation,
          lastSequence: journal.lastSequence,
          journal: journal.otherJournal,
          sessionNonce: this.#sessionNonce,
          source: this.#source,
          targets: this.#set.inSync(),
        });
        await forgetOlderGenerations(this.#set);
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

  #fail(commits: readonly WaitingCommit[]): void {
    this.#failed = true;
    for (const commit of commits) commit.reject(failedError());
  }
}

export function notCommittedError(): MetadataError {
  return new MetadataError(
    'METADATA_NOT_COMMITTED',
    'the spare failed while the record was written, and the record is not there: write the data again, to fresh slots',
  );
}

export function failedError(): MetadataError {
  return new MetadataError(
    'METADATA_FAILED',
    'the spare cannot keep the metadata any more: no more writes are accepted; replace or reconnect the spare, then assemble',
  );
}
