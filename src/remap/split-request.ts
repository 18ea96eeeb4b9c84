import { apart, IoFlags } from '../block/block-device.ts';
import { asDeviceError, DeviceError, type FailedRange } from '../block/device-error.ts';
import type { RemapCore } from './remap-core.ts';
import { type Piece, planPieces } from './request-plan.ts';
import {
  type ByteRange,
  halves,
  type PendingRange,
  RequestProgress,
  roundsMax,
  stillThere,
  toVirtual,
} from './request-rounds.ts';

/** What narrowing one request may cost. */
export interface NarrowingBudget {
  /** Failed sub-requests after which ranges are no longer halved. */
  readonly failuresMax: number;
  /** Milliseconds after which they are no longer halved. */
  readonly msMax: number;
}

/**
 * One request that is not simply main's: it touches something special, or main has failed it. Each round splits what is
 * pending by place, sends the pieces, narrows what failed to granules and repairs those under their locks.
 *
 *     pending ranges --plan--> pieces --device--> settled
 *           ^                                     failed: halved, sent again, repaired, or given up
 *           +-------------------------------------------+
 */
export abstract class SplitRequest {
  protected readonly core: RemapCore;
  protected readonly offset: number;
  protected readonly progress: RequestProgress;
  readonly #buffer: Uint8Array;
  readonly #budget: NarrowingBudget;
  protected readonly deadlineMs: number;

  constructor(core: RemapCore, buffer: Uint8Array, offset: number, budget: NarrowingBudget) {
    this.core = core;
    this.offset = offset;
    this.progress = new RequestProgress(offset, buffer.length);
    this.#buffer = buffer;
    this.#budget = budget;
    this.deadlineMs = core.parts.clock.nowMs() + budget.msMax;
  }

  /** Sends one piece to its device; `flags` are those of `apart`. A lost piece is the subclass's to answer. */
  protected abstract send(piece: Piece, bytes: Uint8Array, flags: number): Promise<void>;
  /** A failure of one granule that may be a neighbour's, joined with it by the kernel, is tried once more on its own. */
  protected abstract readonly asksAlone: boolean;
  /** Notes a failed or lost range inside one granule, or many once the budget is spent, for `repairAll`. */
  protected abstract repairLater(piece: Piece, range: FailedRange): void;
  /** The budget is spent on a range of several granules. */
  protected abstract budgetSpent(piece: Piece, range: FailedRange): void;
  /** Repairs what was noted; empties the notes. */
  protected abstract repairAll(): Promise<void>;
  protected abstract get repairsWaiting(): boolean;
  protected abstract countFailure(piece: Piece): void;
  /** Notes a piece that must not be sent without its granule's lock, for `repairAll`; false for all others. */
  protected abstract takesOver(piece: Piece): boolean;

  /**
   * Runs to the end. `mainFailed` is main's answer to the whole request, when it was sent there already. Throws a
   * `DeviceError` that names every failed range.
   */
  async run(name: string, mainFailed?: DeviceError): Promise<void> {
    const { progress } = this;
    if (mainFailed !== undefined) {
      progress.take();
      const whole = { place: 'main', deviceOffset: this.offset, ...this.#whole() } as const;
      this.#classify(whole, mainFailed, IoFlags.none);
    }
    for (
      let round = 0;
      round < roundsMax && (progress.pending.length > 0 || this.repairsWaiting);
      round += 1
    ) {
      await Promise.all(progress.take().map((range) => this.#sendRange(range)));
      await this.repairAll();
    }
    progress.giveUp();
    if (progress.failed.length > 0) throw new DeviceError(name, progress.sortedFailures());
  }

  /** The request's bytes of a range of the virtual device. */
  protected bytesOf(range: ByteRange): Uint8Array {
    const from = range.offset - this.offset;
    return this.#buffer.subarray(from, from + range.length);
  }

  #whole(): ByteRange {
    return { offset: this.offset, length: this.#buffer.length };
  }

  async #sendRange(range: PendingRange): Promise<void> {
    const { inFlight, locks, table, parts } = this.core;
    const first = Math.floor(range.offset / parts.granuleBytes);
    const last = Math.floor((range.offset + range.length - 1) / parts.granuleBytes);
    while (locks.blocked(first, last)) await locks.whenUnblocked(first, last);
    // From the plan to the ticket nothing is awaited: a move that begins later waits for this ticket (R1).
    const pieces = planPieces(table, parts.granuleBytes, range.offset, range.length).filter(
      (piece) => !this.takesOver(piece),
    );
    const ticket = inFlight.begin(first, last);
    let failures: (DeviceError | undefined)[];
    try {
      failures = await Promise.all(pieces.map((piece) => this.#sendPiece(piece, range.flags)));
    } finally {
      inFlight.end(ticket);
    }
    for (const [index, failure] of failures.entries()) {
      if (failure !== undefined) this.#classify(pieces[index]!, failure, range.flags);
    }
  }

  async #sendPiece(piece: Piece, flags: number): Promise<DeviceError | undefined> {
    try {
      await this.send(piece, this.bytesOf(piece), flags);
      this.core.noteWorked(piece.place, Math.floor(piece.offset / this.core.parts.granuleBytes));
      return undefined;
    } catch (error) {
      return asDeviceError(error);
    }
  }

  #classify(piece: Piece, failure: DeviceError, flags: number): void {
    this.countFailure(piece);
    // Sectors known to be lost were not asked for: they cost nothing.
    if (piece.place !== 'lost') this.progress.failures += 1;
    for (const range of toVirtual(piece, failure)) this.#classifyRange(piece, range, flags);
  }

  #classifyRange(piece: Piece, range: FailedRange, flags: number): void {
    if (range.kind === 'medium' && piece.place === 'main') this.core.mainCache.noteMediumError();
    if (range.kind === 'transient') this.progress.retryOrFail(range);
    else if (range.kind === 'lost') this.repairLater(piece, range);
    else if (range.kind !== 'medium' && range.kind !== 'suspect') this.#giveUp(piece, range);
    else if (stillThere(this.core, piece, range)) this.#narrow(piece, range, flags);
    else this.progress.again(range);
  }

  #giveUp(piece: Piece, range: FailedRange): void {
    if (range.kind === 'path') this.core.notePathFailed(piece.place);
    this.progress.failed.push(range);
  }

  #narrow(piece: Piece, range: FailedRange, flags: number): void {
    const { granuleBytes, clock } = this.core.parts;
    const halfRanges = halves(range, granuleBytes);
    const spent = this.progress.failures > this.#budget.failuresMax || clock.nowMs() > this.deadlineMs;
    if (halfRanges !== undefined) {
      if (spent) this.budgetSpent(piece, range);
      // Even and odd by turns, so that no two neighbours have the same: also those of another request are halves.
      else for (const [index, half] of halfRanges.entries()) this.progress.again(half, apart(index));
    } else if (this.asksAlone && flags === IoFlags.none && !spent) {
      this.progress.again(range, apart(Math.floor(range.offset / granuleBytes)));
    } else {
      this.repairLater(piece, range);
    }
  }
}
