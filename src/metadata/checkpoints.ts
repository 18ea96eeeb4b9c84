import { type Clock, delay } from '../block/clock.ts';
import { asDeviceError } from '../block/device-error.ts';
import { forgetOlderGenerations, TableGrew, writeGeneration } from './generation-writer.ts';
import type { JournalWriter } from './journal-writer.ts';
import type { MappingStateSource } from './mapping-state.ts';
import type { Replica, ReplicaSet } from './replica-set.ts';
import { retryDelay, settleTimeoutMs } from './settle-retry.ts';
import type { SpareIo } from './spare-io.ts';

/** M8: a checkpoint starts when this share of the journal is used. */
const startShare = 0.5;

export interface CheckpointCounts {
  checkpoints: number;
  checkpointsFailed: number;
}

/** The checkpoints of a session, one at a time, beside the commits: when they start, what follows when one fails. */
export class Checkpoints {
  readonly counts: CheckpointCounts = { checkpoints: 0, checkpointsFailed: 0 };
  readonly #io: SpareIo;
  readonly #clock: Clock;
  readonly #set: ReplicaSet;
  readonly #source: MappingStateSource;
  readonly #journal: JournalWriter;
  #running: Promise<void> | undefined;
  /** Since when checkpoints have failed without one that succeeded, and when the next may be tried. */
  #failingSinceMs: number | undefined;
  #nextMs = 0;
  /** The table changed faster than a pass over it: the next one runs while no commit does. */
  #mustRunAlone = false;

  constructor(io: SpareIo, set: ReplicaSet, source: MappingStateSource, journal: JournalWriter) {
    this.#io = io;
    this.#clock = io.clock;
    this.#set = set;
    this.#source = source;
    this.#journal = journal;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  async ended(): Promise<void> {
    await this.#running;
  }

  /** Between two batches: starts one when it is time. Resolves at once, unless commits must wait for it. */
  async afterBatch(): Promise<void> {
    const { usedBlocks } = this.#journal;
    if (usedBlocks >= this.#set.shared.layout.journalBlocks * startShare) this.#start([]);
    if (this.#mustRunAlone) await this.#running;
  }

  /** M8: the journal is full; commits wait for the checkpoint. False when none could be written for too long. */
  async makeRoom(blocks: number): Promise<boolean> {
    const journal = this.#journal;
    while (!journal.hasRoomFor(blocks)) {
      this.#start([]);
      await this.#running;
      if (journal.hasRoomFor(blocks)) break;
      const now = this.#clock.nowMs();
      const failing = this.#failingSinceMs !== undefined && now - this.#failingSinceMs >= settleTimeoutMs;
      if (failing || this.#set.hasLateWrite) return false;
      if (now < this.#nextMs) await delay(this.#clock, this.#nextMs - now);
    }
    return true;
  }

  /**
   * Between two batches: takes replicas that left the set in again. They get the next checkpoint, and from its beginning all
   * that is committed, so that they have everything when they are members. Undefined when nothing can be done now; `ended`
   * resolves when each is a member or has failed again. With `rewrites` also when there is none.
   */
  async startRepair(rewrites: boolean): Promise<{ readonly ended: Promise<void> } | undefined> {
    await this.#running;
    if (this.#set.hasLateWrite || this.#set.inSync().length === 0 || !this.#set.isConsistent)
      return undefined;
    // Only with a new journal do they miss nothing: a checkpoint that failed has to be written first.
    if (!this.#isPublished()) {
      this.#start([]);
      await this.#running;
      if (!this.#isPublished()) return undefined;
    }
    const joining = this.#set.takeIn();
    if (joining.length === 0 && !rewrites) return undefined;
    this.#nextMs = 0;
    this.#start(joining);
    return { ended: this.ended() };
  }

  /**
   * M1: what is in doubt may be on some replica. A generation above it, without it, on all replicas in sync and in both of
   * their superblock slots, makes it never have happened. Nothing else is committed meanwhile. Rejects with the device's
   * error; may be tried again.
   */
  async writeWithoutDoubt(targets: readonly Replica[]): Promise<void> {
    const journal = this.#journal;
    const generation = journal.generation + 1;
    await writeGeneration(this.#io, this.#set, {
      generation,
      lastSequence: journal.lastSequence,
      journal: journal.otherJournal,
      sessionNonce: journal.sessionNonce,
      source: this.#source,
      targets,
    });
    await forgetOlderGenerations(this.#set);
    journal.switchTo(generation);
    this.#failingSinceMs = undefined;
    this.#nextMs = 0;
  }

  /** All that are in sync have the journal's generation: the next one may begin. */
  #isPublished(): boolean {
    return this.#set.inSync().every(({ checkpoint }) => checkpoint.generation === this.#journal.generation);
  }

  /** Between batches only: everything durable is in the table then, so the snapshot may begin. */
  #start(joining: readonly Replica[]): void {
    if (this.#running !== undefined || this.#set.hasLateWrite) return;
    if (this.#failingSinceMs !== undefined && this.#clock.nowMs() < this.#nextMs) return;
    // After a failed attempt the journal is this generation's already.
    if (this.#isPublished()) this.#journal.switchTo(this.#journal.generation + 1);
    this.#running = this.#run(joining);
  }

  async #run(joining: readonly Replica[]): Promise<void> {
    const journal = this.#journal;
    try {
      await writeGeneration(this.#io, this.#set, {
        generation: journal.generation,
        lastSequence: journal.lastSequence,
        journal: journal.journal,
        sessionNonce: journal.sessionNonce,
        source: this.#source,
        targets: [...this.#set.inSync(), ...joining],
      });
      await forgetOlderGenerations(this.#set, joining);
      this.counts.checkpoints += 1;
      this.#failingSinceMs = undefined;
      this.#mustRunAlone = false;
    } catch (error) {
      // Whether a joining one is a member is in doubt: out with it, durably, before the next ack.
      for (const replica of joining) if (replica.state === 'joining') this.#set.markFailed(replica);
      this.#noteFailure(error);
    }
    this.#running = undefined;
  }

  #noteFailure(error: unknown): void {
    asDeviceError(error);
    const now = this.#clock.nowMs();
    this.counts.checkpointsFailed += 1;
    if (error instanceof TableGrew && !this.#mustRunAlone) {
      // Nothing is wrong with the spare.
      this.#mustRunAlone = true;
      return;
    }
    this.#failingSinceMs ??= now;
    this.#nextMs = now + retryDelay(now - this.#failingSinceMs);
  }
}
