import type { FailedRange } from '../../block/device-error.ts';
import { Errno } from '../../block/errno.ts';
import { StateFlags } from '../../metadata/mapping-state.ts';
import { askMainAgain } from '../move/ask-main-again.ts';
import { type ReadRepair, repairRead } from '../move/read-repair.ts';
import { cutsSpareBlock, readSlotPart } from '../move/slot-part.ts';
import type { RemapCore } from '../remap-core.ts';
import { sectorMask } from '../table/sector-mask.ts';
import { answerLost } from './fresh-read.ts';
import type { Piece } from './request-plan.ts';
import { unitsOf } from './request-rounds.ts';
import { type NarrowingBudget, SplitRequest } from './split-request.ts';

/** R18: what is undecided when it is spent answers EIO without a mark, and the next read goes on. */
export const readBudget: NarrowingBudget = { failuresMax: 1024, msMax: 10_000 };

/** R34: the first read of imported sectors asks main once for all of their granule, and not long. */
const suspectQuestion = {
  mask: 0xffff_ffff,
  readsMax: 1,
  msMax: 1000,
  moveSaved: false,
  suspectsOnly: true,
} as const;

/** A read of something special, or one that main has failed: good parts are delivered, failed ones named. */
export class ReadRequest extends SplitRequest {
  /** Its repair reads each sector again, alone, in any case. */
  protected readonly asksAlone = false;
  #repairs: ReadRepair[] = [];
  #suspects: FailedRange[] = [];

  constructor(core: RemapCore, target: Uint8Array, offset: number) {
    super(core, target, offset, 'read', readBudget);
  }

  protected get repairsWaiting(): boolean {
    return this.#repairs.length > 0 || this.#suspects.length > 0;
  }

  protected send(piece: Piece, bytes: Uint8Array, flags: number): Promise<void> {
    if (piece.place === 'main') return this.core.parts.main.read(bytes, piece.deviceOffset, flags);
    if (cutsSpareBlock(this.core, piece)) return readSlotPart(this.core, bytes, piece.deviceOffset, flags);
    if (piece.place === 'spare') return this.core.readSpare(bytes, piece.deviceOffset, flags);
    // Main is not asked again without `retry`, for gone sectors never (R4, R18).
    return answerLost(this.core, piece, bytes);
  }

  protected takesOver(): boolean {
    return false;
  }

  protected repairLater(piece: Piece, range: FailedRange): void {
    if (piece.place === 'lost') {
      this.#answerLost(range);
      return;
    }
    const granule = Math.floor(range.offset / this.core.parts.granuleBytes);
    const { offset, length } = range;
    const seen = this.core.stateOf(granule);
    this.#repairs.push({ granule, offset, length, place: piece.place, seen, failure: range });
  }

  protected budgetSpent(piece: Piece, range: FailedRange): void {
    this.#leaveUndecided(piece.place, range);
  }

  /** An error for this reader, and no mark; main is asked for it in the background (R18). */
  #leaveUndecided(place: Piece['place'], range: FailedRange): void {
    const { granuleBytes } = this.core.parts;
    this.progress.failed.push({ ...range, kind: 'timed-out', errno: Errno.ETIMEDOUT });
    if (place !== 'main') return;
    for (const unit of unitsOf(range, granuleBytes)) {
      const from = unit.offset % granuleBytes;
      const mask = sectorMask(from, from + unit.length);
      this.core.salvager.add(Math.floor(unit.offset / granuleBytes), mask);
    }
  }

  protected async repairAll(): Promise<void> {
    const suspects = this.#suspects;
    this.#suspects = [];
    for (const range of suspects) await this.#askForSuspect(range);
    const repairs = this.#repairs;
    this.#repairs = [];
    // One after the other: a reader's bad sectors must not crowd out everybody else's I/O.
    for (const repair of repairs) {
      if (this.core.parts.clock.nowMs() > this.deadlineMs) {
        this.#leaveUndecided(repair.place, repair.failure);
        continue;
      }
      const outcome = await repairRead(this.core, repair, this.bytesOf(repair), this.deadlineMs);
      if (outcome === 'again') {
        this.progress.again(repair);
        continue;
      }
      for (const range of outcome) {
        if (range.kind === 'transient') this.progress.retryOrFail(range);
        else this.fail(range);
      }
    }
  }

  /** Sectors that were only imported as bad are asked for once (R34); all others stay lost. */
  #answerLost(range: FailedRange): void {
    const { granuleBytes } = this.core.parts;
    for (const unit of unitsOf(range, granuleBytes)) {
      const { flags, unreadable } = this.core.stateOf(Math.floor(unit.offset / granuleBytes));
      const isSuspect = unreadable !== 0 && (flags & StateFlags.suspect) !== 0;
      (isSuspect ? this.#suspects : this.progress.failed).push({ ...range, ...unit });
    }
  }

  async #askForSuspect(range: FailedRange): Promise<void> {
    const granule = Math.floor(range.offset / this.core.parts.granuleBytes);
    const answer = await askMainAgain(this.core, granule, suspectQuestion);
    if (answer.away !== undefined) this.progress.failed.push({ ...range, kind: 'path' });
    else if (answer.undecided === 0) this.progress.again(range);
    else this.progress.failed.push({ ...range, kind: 'timed-out', errno: Errno.ETIMEDOUT });
  }

  protected countFailure(piece: Piece): void {
    const { counters } = this.core;
    if (piece.place === 'main') counters.mainReadErrors += 1;
    else if (piece.place === 'spare') counters.spareErrors += 1;
    else counters.lostReads += 1;
  }
}
