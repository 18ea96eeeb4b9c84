import { deviceError, type FailedRange } from '../../block/device-error.ts';
import { Errno } from '../../block/errno.ts';
import { cutsSpareBlock } from '../move/slot-part.ts';
import { repairWrite, type WriteRepair, type WriteRepairReason } from '../move/write-repair.ts';
import type { RemapCore } from '../remap-core.ts';
import { sectorMask } from '../table/sector-mask.ts';
import type { Piece } from './request-plan.ts';
import { unitsOf } from './request-rounds.ts';
import { type NarrowingBudget, SplitRequest } from './split-request.ts';

/** R19: what is not yet written when it is spent is relocated wholesale, flagged `unverified`. */
export const writeBudget: NarrowingBudget = { failuresMax: 64, msMax: 2000 };

/** Which reason wins when one granule of a write has several: the one that asks most. */
const reasonRank: Readonly<Record<WriteRepairReason, number>> = {
  lost: 0,
  'slot-part': 1,
  'main-failed': 2,
  'spare-failed': 3,
};

const reasonOfPlace = { main: 'main-failed', spare: 'spare-failed', lost: 'lost' } as const;

/** A write to something special, or one that main has failed: it succeeds when every byte is stored somewhere durable. */
export class WriteRequest extends SplitRequest {
  /** What is moved without need costs a slot for ever. */
  protected readonly asksAlone = true;
  readonly #flags: number;
  readonly #end: number;
  #repairs = new Map<number, WriteRepair>();

  constructor(core: RemapCore, source: Uint8Array, offset: number, flags: number) {
    super(core, source, offset, 'write', writeBudget);
    this.#flags = flags;
    this.#end = offset + source.length;
  }

  protected get repairsWaiting(): boolean {
    return this.#repairs.size > 0;
  }

  protected send(piece: Piece, bytes: Uint8Array, flags: number): Promise<void> {
    const all = this.#flags | flags;
    if (piece.place === 'main') return this.core.writeMain(bytes, piece.deviceOffset, all);
    if (piece.place === 'spare') return this.core.writeSpare(bytes, piece.deviceOffset, all);
    return Promise.reject(deviceError('lost', 'lost', piece.deviceOffset, piece.length));
  }

  /** A block of the spare that is written in part (R9), or is to be read back (R24), is written under the lock. */
  protected takesOver(piece: Piece): boolean {
    const checked = piece.place === 'spare' && this.core.verifiesEachWrite;
    if (!checked && !cutsSpareBlock(this.core, piece)) return false;
    const { offset, length } = piece;
    this.#repairGranules({ offset, length, kind: 'lost', errno: Errno.EIO }, 'slot-part', false);
    return true;
  }

  protected repairLater(piece: Piece, range: FailedRange): void {
    this.#repairGranules(range, reasonOfPlace[piece.place], false);
  }

  protected budgetSpent(piece: Piece, range: FailedRange): void {
    this.#repairGranules(range, reasonOfPlace[piece.place], true);
  }

  protected async repairAll(): Promise<void> {
    const repairs = [...this.#repairs.values()];
    this.#repairs = new Map();
    // All at once: their flushes and records share (M19); the arena's remap reserve bounds how many run.
    await Promise.all(repairs.map((repair) => this.#repair(repair)));
  }

  protected countFailure(piece: Piece): void {
    const { counters } = this.core;
    if (piece.place === 'main') counters.mainWriteErrors += 1;
    else if (piece.place === 'spare') counters.spareErrors += 1;
  }

  async #repair(repair: WriteRepair): Promise<void> {
    const outcome = await repairWrite(this.core, repair, this.bytesOf(repair), this.#flags);
    if (outcome === 'done') return;
    if (outcome === 'again') this.progress.again(repair);
    else if (outcome.kind === 'transient') this.progress.retryOrFail(outcome);
    else this.fail(outcome);
  }

  /** All of the write's bytes in a granule may move with the failed ones: the write has data for them (R9). */
  #repairGranules(range: FailedRange, reason: WriteRepairReason, unverified: boolean): void {
    const { granuleBytes } = this.core.parts;
    for (const unit of unitsOf(range, granuleBytes)) {
      const granule = Math.floor(unit.offset / granuleBytes);
      const before = this.#repairs.get(granule);
      const start = granule * granuleBytes;
      const unitMask = sectorMask(unit.offset - start, unit.offset + unit.length - start);
      const unwritten = ((before?.unwritten ?? 0) | unitMask) >>> 0;
      if (before !== undefined && reasonRank[before.reason] >= reasonRank[reason]) {
        this.#repairs.set(granule, { ...before, unwritten });
        continue;
      }
      const offset = Math.max(this.offset, start);
      const length = Math.min(this.#end, start + granuleBytes) - offset;
      const seen = this.core.stateOf(granule);
      const repair = { granule, offset, length, reason, seen, unwritten, unverified, failure: range };
      this.#repairs.set(granule, repair);
    }
  }
}
