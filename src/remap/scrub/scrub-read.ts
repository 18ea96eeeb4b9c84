import { sectorBytes } from '../../block/block-device.ts';
import { asDeviceError, type FailedRange } from '../../block/device-error.ts';
import type { FailureKind } from '../../block/errno.ts';
import { noSlot } from '../../metadata/mapping-state.ts';
import { ReadRequest } from '../request/read-request.ts';
import type { Piece } from '../request/request-plan.ts';
import { sectorCountOf } from '../table/sector-mask.ts';

/** What became of one read of a scrub. */
export interface ScrubFinding {
  /** Bytes that main and spare gave to the read itself; what was asked again under a lock is not among them. */
  readonly mainBytes: number;
  readonly spareBytes: number;
  /** Granules of which something did not come at once. */
  readonly foundGranules: number;
  /** Of those: all came in the end. */
  readonly savedGranules: number;
  /** Of those: they lie in another place now. */
  readonly movedGranules: number;
  /** Nobody can read them: they are listed. */
  readonly lostSectors: number;
  /** Not decided in the time that a reader has; the salvager goes on with them (R18). */
  readonly undecidedSectors: number;
  /** A disk does not answer: nothing is known of what was to be read there. */
  readonly isAway: boolean;
  /** Milliseconds that main took; undefined when it was not one read of main that succeeded. */
  readonly mainMs: number | undefined;
}

/** Of failures that are about the sectors themselves. */
const lostKinds: ReadonlySet<FailureKind> = new Set(['lost', 'medium', 'suspect']);

interface Before {
  readonly slot: number;
  readonly held: number;
}

/**
 * A read by a scrub: a client's read in all that it does to bad sectors, without what is done to a client's reply (R12, I23).
 * It counts what really passed.
 */
export class ScrubRead extends ReadRequest {
  readonly #bytes: Record<'main' | 'spare', number> = { main: 0, spare: 0 };
  /** Granules that failed, as they were then. */
  readonly #bad = new Map<number, Before>();
  #mainReads = 0;
  #mainMs = 0;

  /** Resolves whatever the disks do. */
  async finding(name: string): Promise<ScrubFinding> {
    let failed: readonly FailedRange[] = [];
    try {
      await this.run(name);
    } catch (error) {
      failed = asDeviceError(error).ranges;
    }
    return this.#found(failed);
  }

  protected override async send(piece: Piece, bytes: Uint8Array, flags: number): Promise<void> {
    const { place } = piece;
    if (place === 'lost') return await super.send(piece, bytes, flags);
    const { clock } = this.core.parts;
    const startMs = clock.nowMs();
    await super.send(piece, bytes, flags);
    this.#bytes[place] += piece.length;
    if (place !== 'main') return;
    this.#mainReads += 1;
    this.#mainMs = clock.nowMs() - startMs;
  }

  protected override repairLater(piece: Piece, range: FailedRange): void {
    if (piece.place !== 'lost') this.#noteBad(range);
    super.repairLater(piece, range);
  }

  protected override budgetSpent(piece: Piece, range: FailedRange): void {
    this.#noteBad(range);
    super.budgetSpent(piece, range);
  }

  #noteBad(range: FailedRange): void {
    for (const granule of this.#granulesOf(range)) {
      if (this.#bad.has(granule)) continue;
      const { slot, held } = this.core.stateOf(granule);
      this.#bad.set(granule, { slot, held });
    }
  }

  #found(failed: readonly FailedRange[]): ScrubFinding {
    const left = new Set(this.#bad.keys());
    let lostSectors = 0;
    let undecidedSectors = 0;
    let isAway = false;
    for (const range of failed) {
      for (const granule of this.#granulesOf(range)) left.delete(granule);
      if (range.kind === 'path') isAway = true;
      else if (lostKinds.has(range.kind)) lostSectors += this.#ownSectors(range);
      else undecidedSectors += range.length / sectorBytes;
    }
    const isOneRead = this.#mainReads === 1 && this.#bytes.spare === 0 && this.#bad.size === 0;
    return {
      mainBytes: this.#bytes.main,
      spareBytes: this.#bytes.spare,
      foundGranules: this.#bad.size,
      savedGranules: left.size,
      movedGranules: [...this.#bad].filter(([granule, before]) => this.#hasMoved(granule, before)).length,
      lostSectors,
      undecidedSectors,
      isAway,
      mainMs: isOneRead && failed.length === 0 ? this.#mainMs : undefined,
    };
  }

  /** Sectors that somebody else found to be lost while this read waited were not found by it. */
  #ownSectors(range: FailedRange): number {
    return this.#granulesOf(range).some((granule) => this.#bad.has(granule)) ? range.length / sectorBytes : 0;
  }

  #hasMoved(granule: number, before: Before): boolean {
    const { slot, held } = this.core.stateOf(granule);
    return slot !== noSlot && (slot !== before.slot || sectorCountOf(held & ~before.held) > 0);
  }

  #granulesOf({ offset, length }: FailedRange): number[] {
    const { granuleBytes } = this.core.parts;
    const first = Math.floor(offset / granuleBytes);
    const last = Math.floor((offset + length - 1) / granuleBytes);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  }
}
