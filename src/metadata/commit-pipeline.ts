import { assert } from '../block/assert.ts';
import { type Clock, delay } from '../block/clock.ts';
import { asDeviceError, type DeviceError } from '../block/device-error.ts';
import { type CheckpointCounts, Checkpoints } from './checkpoints.ts';
import { type Batch, CommitQueue, type WaitingCommit } from './commit-queue.ts';
import { type JournalBefore, type JournalStart, JournalWriter } from './journal-writer.ts';
import type { MappingStateSource } from './mapping-state.ts';
import { MetadataError } from './metadata-error.ts';
import type { ReplicaSet, ReplicasBefore } from './replica-set.ts';
import { retryDelay, settleTimeoutMs } from './settle-retry.ts';
import type { SpareIo } from './spare-io.ts';
import { hexText } from './uuid.ts';

export interface PipelineCounts extends CheckpointCounts {
  /** Commit calls that resolved. */
  commits: number;
  /** Batches they were written in. */
  batches: number;
}

/**
 * - `open`       commits are taken
 * - `failed`     something is in doubt and could not be settled: `recover` may help
 * - `abandoned`  nothing of this session may be written any more
 */
type PipelineState = 'open' | 'failed' | 'abandoned';

/** Who waits for a repair that has not begun. */
interface WantedRepair {
  /** Also when no replica has left the set: everything on the spare is written anew. */
  rewrites: boolean;
  readonly promise: Promise<void>;
  readonly resolve: (running: Promise<void> | undefined) => void;
}

/**
 * The commits of a settled store, one batch after the other, with the checkpoints that make room for them. Nothing here runs
 * while nobody commits.
 */
export class CommitPipeline {
  readonly journal: JournalWriter;
  readonly #io: SpareIo;
  readonly #clock: Clock;
  readonly #set: ReplicaSet;
  readonly #checkpoints: Checkpoints;
  readonly #batchBlocksMax: number;
  readonly #queue: CommitQueue;
  readonly #counts = { commits: 0, batches: 0 };
  #state: PipelineState = 'open';
  /** A write of a batch in doubt passed its deadline: it may still arrive wherever this session writes next (R3). */
  #lateBatch = false;
  /** True while commits are taken from the queue; `#pump` is the last run of that. */
  #pumping = false;
  #pump: Promise<void> | undefined;
  #recovering: Promise<void> | undefined;
  #wantedRepair: WantedRepair | undefined;
  /** What `goBack` goes back to. */
  #before:
    | {
        readonly state: PipelineState;
        readonly lateBatch: boolean;
        readonly set: ReplicasBefore;
        readonly journal: JournalBefore;
      }
    | undefined;

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
    this.#batchBlocksMax = batchBlocksMax;
    this.journal = new JournalWriter(io, set, start);
    this.#checkpoints = new Checkpoints(io, set, source, this.journal);
    this.#queue = new CommitQueue(io.flusher);
    io.flusher.onFailure = () => this.#queue.poison();
  }

  /** A commit is in doubt and could not be settled: there will be no more, unless `recover` succeeds. */
  get failed(): boolean {
    return this.#state !== 'open';
  }

  get checkpointRunning(): boolean {
    return this.#checkpoints.isRunning;
  }

  get counts(): PipelineCounts {
    return { ...this.#counts, ...this.#checkpoints.counts };
  }

  /** As text. */
  get sessionNonce(): string {
    return hexText(this.journal.sessionNonce);
  }

  /** The commit is answered through its own `resolve` and `reject`. */
  add(commit: Omit<WaitingCommit, 'arrival'>): void {
    this.#queue.add({ ...commit, arrival: this.#io.flusher.submitted });
    this.#startPump();
  }

  /** Resolves when every commit is answered and no checkpoint runs. Nothing is added meanwhile. */
  async drained(): Promise<void> {
    await this.#recovering?.catch(() => {});
    await this.#pump;
    await this.#checkpoints.ended();
  }

  /**
   * One attempt to leave `failed`: what is in doubt is made never to have happened (M1), on every replica that takes it.
   * Rejects with `METADATA_FAILED` when the spare still does not take it, or when a late write may still arrive (R3).
   */
  recover(): Promise<void> {
    if (!this.failed) return Promise.resolve();
    this.#recovering ??= this.#recover().finally(() => {
      this.#recovering = undefined;
    });
    return this.#recovering;
  }

  /**
   * `exchange` makes the spare another disk, once nothing is under way for the metadata of the old one; `claim` makes that ours: a session of its own on all replicas, from the table. Between commits, of which none may
   * come meanwhile. Rejects with `METADATA_FAILED`, and is failed then; may be tried again, or undone by `goBack`.
   */
  async startAnew(
    sessionNonce: Uint8Array,
    exchange: () => void,
    claim: () => Promise<void>,
    needsAll: boolean,
  ): Promise<void> {
    while (this.#recovering !== undefined) await this.#recovering.catch(() => {});
    if (this.#state === 'abandoned') throw failedError();
    // Nobody else writes a generation meanwhile: nothing is repaired, and who recovers waits for this.
    const before = this.#state;
    this.#state = 'failed';
    this.#recovering = this.#startAnew(sessionNonce, exchange, claim, needsAll, before).finally(() => {
      this.#recovering = undefined;
    });
    await this.#recovering;
  }

  /** `startAnew` has failed, and a superblock was sent to the new disk: it may be there. */
  get sentSuperblock(): boolean {
    return this.#before !== undefined && this.#set.sentSuperblock;
  }

  /**
   * `startAnew` has failed, and the spare is the disk again that it was before, to which nothing was written since: the session
   * goes on there as if nothing had happened.
   */
  async goBack(): Promise<void> {
    while (this.#recovering !== undefined) await this.#recovering.catch(() => {});
    const before = this.#before;
    if (before === undefined) return;
    await this.#set.returnTo(before.set);
    this.journal.returnTo(before.journal);
    this.#lateBatch = before.lateBatch;
    this.#before = undefined;
    if (this.#state === 'failed') this.#state = before.state;
  }

  async #startAnew(
    sessionNonce: Uint8Array,
    exchange: () => void,
    claim: () => Promise<void>,
    needsAll: boolean,
    state: PipelineState,
  ): Promise<void> {
    await this.#pump;
    await this.#checkpoints.ended();
    let set: ReplicasBefore;
    try {
      set = await this.#set.beginAnew(exchange);
    } catch (error) {
      // It was not exchanged: nothing has begun.
      if (this.#state === 'failed') this.#state = state;
      throw error;
    }
    const journal = this.journal.renewSession(sessionNonce);
    this.#before = { state, lateBatch: this.#lateBatch, set, journal };
    this.#lateBatch = false;
    try {
      await claim();
      await this.#checkpoints.writeWithoutDoubt(this.#set.replicas);
      if (needsAll) this.#refuseBadPlaces();
    } catch (error) {
      await this.#set.withdraw();
      if (error instanceof MetadataError) throw error;
      throw failedError(asDeviceError(error));
    }
    this.#before = undefined;
    if (this.#state === 'failed') this.#state = 'open';
  }

  /** A new disk with bad blocks where the metadata goes is not fit to be a spare; a large one might not even be known again by the rest. */
  #refuseBadPlaces(): void {
    const total = this.#set.replicas.length;
    const written = this.#set.inSync().length;
    if (written === total) return;
    throw new MetadataError(
      'METADATA_FAILED',
      `${this.#io.spare.name}: takes only ${written} of ${total} replicas of the metadata: use another disk`,
    );
  }

  /** M2: see `Checkpoints.startRepair`. Resolves when no more can be done now; does not reject. */
  repair(rewrites = false): Promise<void> {
    if (this.failed) return Promise.resolve();
    this.#wantedRepair ??= wantedRepair();
    this.#wantedRepair.rewrites ||= rewrites;
    const { promise } = this.#wantedRepair;
    this.#startPump();
    return promise;
  }

  /** Somebody else has the spare (M11): nothing is written any more, whatever is under way. */
  abandon(): void {
    this.#state = 'abandoned';
    this.#io.stopWrites();
  }

  #startPump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    this.#pump = this.#pumpCommits();
  }

  async #pumpCommits(): Promise<void> {
    while (!this.#queue.isEmpty || this.#wantedRepair !== undefined) {
      if (this.#wantedRepair !== undefined) await this.#beginRepair(this.#wantedRepair);
      for (const commit of this.#queue.takePoisoned()) commit.reject(notCommittedError());
      if (this.failed) {
        for (const commit of this.#queue.takeAll()) commit.reject(failedError());
        continue;
      }
      const batch = this.#queue.takeBatch(this.#batchBlocksMax);
      if (batch === undefined) await this.#flushData();
      else await this.#commitBatch(batch);
    }
    this.#pumping = false;
  }

  async #beginRepair(wanted: WantedRepair): Promise<void> {
    this.#wantedRepair = undefined;
    if (!this.failed && this.#set.inSync().length === 0) await this.#reviveAll();
    const repair = this.failed ? undefined : await this.#checkpoints.startRepair(wanted.rewrites);
    wanted.resolve(repair?.ended);
  }

  /** An error of all places at once was one of the path: they are asked again, and have all that is known when they answer (M1). */
  async #reviveAll(): Promise<void> {
    if (this.#mayArriveLate) return;
    await this.#checkpoints.ended();
    try {
      await this.#checkpoints.writeWithoutDoubt(this.#set.reviveFailed());
    } catch (error) {
      asDeviceError(error);
    }
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
    if (!(await this.#checkpoints.makeRoom(batch.groups.length))) {
      this.#fail(batch.commits);
      return;
    }
    const epoch = this.#io.flusher.epoch;
    const outcome = await journal.write(batch.groups);
    if (outcome !== 'written' || !(await this.#makeDurable(epoch))) {
      journal.giveUp();
      this.#lateBatch ||= outcome === 'late';
      await this.#settleDoubt(batch);
      return;
    }
    journal.confirm();
    this.#counts.batches += 1;
    // First all tables, then all callers: what a caller does next sees the whole batch.
    for (const commit of batch.commits) commit.activate?.();
    for (const commit of batch.commits) commit.resolve();
    this.#counts.commits += batch.commits.length;
    await this.#checkpoints.afterBatch();
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

  /** M1: until the batch has never happened nothing else is committed. */
  async #settleDoubt(batch: Batch): Promise<void> {
    await this.#checkpoints.ended();
    const clock = this.#clock;
    const sinceMs = clock.nowMs();
    while (!this.#mayArriveLate && this.#state === 'open') {
      try {
        // An error of all places at once is as short as one of the path: they are asked again.
        const inSync = this.#set.inSync();
        await this.#checkpoints.writeWithoutDoubt(inSync.length > 0 ? inSync : this.#set.reviveFailed());
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

  async #recover(): Promise<void> {
    await this.#pump;
    await this.#checkpoints.ended();
    assert(!this.#pumping, 'a failed pipeline takes no commits');
    if (this.#state === 'abandoned') throw failedError();
    if (this.#mayArriveLate) throw failedError();
    try {
      await this.#checkpoints.writeWithoutDoubt([...this.#set.inSync(), ...this.#set.reviveFailed()]);
    } catch (error) {
      throw failedError(asDeviceError(error));
    }
    if (this.#state === 'failed') this.#state = 'open';
  }

  get #mayArriveLate(): boolean {
    return this.#lateBatch || this.#set.hasLateWrite;
  }

  #fail(commits: readonly WaitingCommit[]): void {
    if (this.#state === 'open') this.#state = 'failed';
    for (const commit of commits) commit.reject(failedError());
  }
}

function wantedRepair(): WantedRepair {
  let resolve: WantedRepair['resolve'] = () => {};
  const promise = new Promise<void>((onResolve) => {
    resolve = onResolve;
  });
  return { rewrites: false, promise, resolve };
}

export function notCommittedError(): MetadataError {
  return new MetadataError(
    'METADATA_NOT_COMMITTED',
    'the spare failed while the record was written, and the record is not there: write the data again, to fresh slots',
  );
}

export function failedError(cause?: DeviceError): MetadataError {
  return new MetadataError(
    'METADATA_FAILED',
    `the spare cannot keep the metadata${cause === undefined ? '' : ` (${cause.message})`}: no more writes are accepted; ` +
      'reconnect the spare, then resume or assemble',
    cause,
  );
}
