import { IoFlags } from '../../block/block-device.ts';
import type { DeviceError, FailedRange } from '../../block/device-error.ts';
import { Errno } from '../../block/errno.ts';
import type { DevicePlace } from '../path/device-paths.ts';
import type { RemapCore } from '../remap-core.ts';
import { type Piece, planPieces } from './request-plan.ts';

/** A failed range that is sent again when its device answers (R5, R17); absent: it has failed for good. */
export interface RangeFailure extends FailedRange {
  readonly waitsFor?: DevicePlace;
}

/** The range, to be sent again when its device answers. */
export function waitingFor(place: DevicePlace, range: FailedRange): RangeFailure {
  return { ...range, kind: 'path', waitsFor: place };
}

/** A range of the virtual device, bytes. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** A range to be sent; `flags` are those of `apart`, or none. */
export interface PendingRange extends ByteRange {
  readonly flags: number;
}

/**
 * Rounds that one request may take: narrowing halves a range each round, from 32 MiB to 512 bytes in 16, and every
 * change of a granule under its feet costs one more (R2).
 */
export const roundsMax = 32;

/** Times that a request is sent again after transient errors (R15). */
export const transientRetriesMax = 3;

/** What is still to be done for one request, and what could not be. */
export class RequestProgress {
  pending: PendingRange[];
  readonly failed: FailedRange[] = [];
  transientRetries = 0;
  /** Sub-requests that failed, for whatever reason. */
  failures = 0;

  constructor(offset: number, length: number) {
    this.pending = [{ offset, length, flags: IoFlags.none }];
  }

  again(range: ByteRange, flags: number = IoFlags.none): void {
    this.pending.push({ offset: range.offset, length: range.length, flags });
  }

  /** Sends a transient failure again, a bounded number of times; then it stays one. */
  retryOrFail(range: FailedRange): void {
    if (this.transientRetries >= transientRetriesMax) {
      this.failed.push(range);
      return;
    }
    this.transientRetries += 1;
    this.again(range);
  }

  /** Takes what is pending for the next round. */
  take(): PendingRange[] {
    const ranges = this.pending;
    this.pending = [];
    return ranges;
  }

  /** Everything left fails: the rounds are used up. */
  giveUp(): void {
    for (const { offset, length } of this.take())
      this.failed.push({ offset, length, kind: 'timed-out', errno: Errno.ETIMEDOUT });
  }

  /** The failed ranges in ascending order. */
  sortedFailures(): FailedRange[] {
    return this.failed.sort((a, b) => a.offset - b.offset);
  }
}

/** Splits a range into halves at a multiple of `unit`; undefined when it lies within one unit. */
export function halves(range: ByteRange, unit: number): [ByteRange, ByteRange] | undefined {
  const end = range.offset + range.length;
  const firstUnit = Math.floor(range.offset / unit);
  const lastUnit = Math.ceil(end / unit);
  if (lastUnit - firstUnit <= 1) return undefined;
  const middle = Math.floor((firstUnit + lastUnit) / 2) * unit;
  return [
    { offset: range.offset, length: middle - range.offset },
    { offset: middle, length: end - middle },
  ];
}

/** Splits a range at every multiple of `unit`. */
export function unitsOf(range: ByteRange, unit: number): ByteRange[] {
  const units: ByteRange[] = [];
  const end = range.offset + range.length;
  let offset = range.offset;
  while (offset < end) {
    const next = Math.min(end, (Math.floor(offset / unit) + 1) * unit);
    units.push({ offset, length: next - offset });
    offset = next;
  }
  return units;
}

/**
 * A device's failed ranges in the virtual device's bytes. Only what is the piece's counts; an error that names nothing of
 * the piece is about all of it: a failure never becomes a success.
 */
export function toVirtual(piece: Piece, failure: DeviceError): FailedRange[] {
  const ranges: FailedRange[] = [];
  for (const range of failure.ranges) {
    const from = Math.max(range.offset, piece.deviceOffset);
    const to = Math.min(range.offset + range.length, piece.deviceOffset + piece.length);
    if (from >= to) continue;
    ranges.push({ ...range, offset: piece.offset + (from - piece.deviceOffset), length: to - from });
  }
  if (ranges.length > 0) return ranges;
  return [{ offset: piece.offset, length: piece.length, kind: 'path', errno: failure.errno }];
}

/** False when the table changed under a request: its failure then says nothing about where the bytes are now (R2). */
export function stillThere(core: RemapCore, piece: Piece, range: ByteRange): boolean {
  const now = planPieces(core.table, core.parts.granuleBytes, range.offset, range.length);
  const only = now[0];
  return (
    now.length === 1 &&
    only?.place === piece.place &&
    only.deviceOffset === piece.deviceOffset + (range.offset - piece.offset)
  );
}
