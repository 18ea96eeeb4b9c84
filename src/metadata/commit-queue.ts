import { assert } from '../block/assert.ts';
import type { MappingRecord } from './mapping-state.ts';
import { recordsPerBlock } from './record-block.ts';
import type { SpareFlush } from './spare-flush.ts';

/** One `commit` call that waits. */
export interface WaitingCommit {
  readonly records: readonly MappingRecord[];
  readonly activate: (() => void) | undefined;
  readonly dataFlush: boolean;
  /** Flushes submitted when it came: a good flush with a higher number covers its data. */
  readonly arrival: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Commits that are written together. */
export interface Batch {
  readonly commits: readonly WaitingCommit[];
  /** Records by journal block. */
  readonly groups: readonly (readonly MappingRecord[])[];
}

/**
 * Who waits for a commit, in order. Has no limit of its own: each entry belongs to a move or a mark of the caller, whose
 * buffers and locks are limited, and back-pressure is that `commit` does not resolve.
 */
export class CommitQueue {
  readonly #flusher: SpareFlush;
  #waiting: WaitingCommit[] = [];
  #poisoned: WaitingCommit[] = [];

  constructor(flusher: SpareFlush) {
    this.#flusher = flusher;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0 && this.#poisoned.length === 0;
  }

  add(commit: WaitingCommit): void {
    this.#waiting.push(commit);
  }

  /** A flush failed: data that no earlier flush covers may be gone (R7). */
  poison(): void {
    this.#poisoned.push(...this.#waiting.filter((commit) => !this.#isReady(commit)));
    this.#waiting = this.#waiting.filter((commit) => this.#isReady(commit));
  }

  takePoisoned(): WaitingCommit[] {
    const taken = this.#poisoned;
    this.#poisoned = [];
    return taken;
  }

  takeAll(): WaitingCommit[] {
    const taken = [...this.#poisoned, ...this.#waiting];
    this.#poisoned = [];
    this.#waiting = [];
    return taken;
  }

  /**
   * The first commits whose data is durable, as many as `blocksMax` blocks hold; undefined when there is none. Records of one
   * call share a block when a block can hold them: they are kept or lost together.
   */
  takeBatch(blocksMax: number): Batch | undefined {
    const commits: WaitingCommit[] = [];
    const left: WaitingCommit[] = [];
    const groups: MappingRecord[][] = [];
    let full = false;
    for (const commit of this.#waiting) {
      if (!full && this.#isReady(commit)) full = !pack(groups, commit.records, blocksMax);
      if (full || !this.#isReady(commit)) left.push(commit);
      else commits.push(commit);
    }
    if (commits.length === 0) return undefined;
    this.#waiting = left;
    return { commits, groups };
  }

  #isReady(commit: WaitingCommit): boolean {
    return !commit.dataFlush || this.#flusher.lastGood > commit.arrival;
  }
}

/** Adds the records to the groups; false, and nothing added, when they would take more than `blocksMax` blocks. */
function pack(groups: MappingRecord[][], records: readonly MappingRecord[], blocksMax: number): boolean {
  const last = groups[groups.length - 1];
  if (last !== undefined && last.length + records.length <= recordsPerBlock) {
    for (const record of records) last.push(record);
    return true;
  }
  const needed = Math.ceil(records.length / recordsPerBlock);
  assert(needed <= blocksMax, 'a commit has at most `recordsPerCommitMax` records');
  if (groups.length + needed > blocksMax) return false;
  for (let at = 0; at < records.length; at += recordsPerBlock) {
    groups.push(records.slice(at, at + recordsPerBlock));
  }
  return true;
}
