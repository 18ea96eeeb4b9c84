import { deviceError, type FailedRange } from '../block/device-error.ts';
import { type ReadRepair, repairRead } from './read-repair.ts';
import type { RemapCore } from './remap-core.ts';
import type { Piece } from './request-plan.ts';
import { cutsSpareBlock, readSlotPart } from './slot-part.ts';
import { type NarrowingBudget, SplitRequest } from './split-request.ts';

/** R18: what is undecided when it is spent answers EIO without a mark, and the next read goes on. */
export const readBudget: NarrowingBudget = { failuresMax: 1024, msMax: 10_000 };

/** A read of something special, or one that main has failed: good parts are delivered, failed ones named. */
export class ReadRequest extends SplitRequest {
  /** Its repair reads each sector again, alone, in any case. */
  protected readonly asksAlone = false;
  #repairs: ReadRepair[] = [];

  constructor(core: RemapCore, target: Uint8Array, offset: number) {
    super(core, target, offset, readBudget);
  }

  protected get repairsWaiting(): boolean {
    return this.#repairs.length > 0;
  }

  protected send(piece: Piece, bytes: Uint8Array, flags: number): Promise<void> {
    const { main, spare } = this.core.parts;
    if (piece.place === 'main') return main.read(bytes, piece.deviceOffset, flags);
    if (cutsSpareBlock(this.core, piece)) return readSlotPart(this.core, bytes, piece.deviceOffset, flags);
    if (piece.place === 'spare') return spare.read(bytes, piece.deviceOffset, flags);
    // Main is not asked again without `retry`, for gone sectors never (R4, R18).
    return Promise.reject(deviceError('lost', 'lost', piece.deviceOffset, piece.length));
  }

  protected takesOver(): boolean {
    return false;
  }

  protected repairLater(piece: Piece, range: FailedRange): void {
    if (piece.place === 'lost') {
      this.progress.failed.push(range);
      return;
    }
    const granule = Math.floor(range.offset / this.core.parts.granuleBytes);
    const { offset, length } = range;
    const seen = this.core.stateOf(granule);
    this.#repairs.push({ granule, offset, length, place: piece.place, seen, failure: range });
  }

  protected budgetSpent(_piece: Piece, range: FailedRange): void {
    this.progress.failed.push(range);
  }

  protected async repairAll(): Promise<void> {
    const repairs = this.#repairs;
    this.#repairs = [];
    // One after the other: a reader's bad sectors must not crowd out everybody else's I/O.
    for (const repair of repairs) {
      if (this.core.parts.clock.nowMs() > this.deadlineMs) {
        this.progress.failed.push(repair.failure);
        continue;
      }
      const outcome = await repairRead(this.core, repair, this.bytesOf(repair), this.deadlineMs);
      if (outcome === 'again') {
        this.progress.again(repair);
        continue;
      }
      for (const range of outcome) {
        if (range.kind === 'transient') this.progress.retryOrFail(range);
        else this.progress.failed.push(range);
      }
    }
  }

  protected countFailure(piece: Piece): void {
    const { counters } = this.core;
    if (piece.place === 'main') counters.mainReadErrors += 1;
    else if (piece.place === 'spare') counters.spareErrors += 1;
    else counters.lostReads += 1;
  }
}
