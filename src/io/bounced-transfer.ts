import type { ArenaReserve, BufferArena } from '../block/buffer-arena.ts';
import { asDeviceError, DeviceError, type FailedRange } from '../block/device-error.ts';

/** Requests outside the arena travel in pieces of this: small, for they come out of a reserve. */
const bouncePieceBytesMax = 64 * 1024;

export interface BouncedTransfer {
  readonly name: string;
  readonly arena: BufferArena;
  readonly reserve: ArenaReserve;
  readonly offset: number;
  readonly length: number;
  /** `at`: bytes from `offset`. */
  readonly carry: (piece: Uint8Array, at: number) => Promise<void>;
}

/** Carries a range over in pieces of the arena, one at a time, and names every range that failed. */
export async function carryInPieces(transfer: BouncedTransfer): Promise<void> {
  const { name, arena, reserve, offset, length, carry } = transfer;
  const step = Math.min(bouncePieceBytesMax, arena.largestPiece(reserve), length);
  const failed: FailedRange[] = [];
  let at = 0;
  while (at < length && !isHopeless(failed)) {
    const piece = await arena.whenFree(step, reserve);
    const part = piece.subarray(0, Math.min(step, length - at));
    try {
      await carry(part, at);
    } catch (error) {
      failed.push(...asDeviceError(error).ranges);
    } finally {
      arena.release(piece);
    }
    at += part.length;
  }
  const last = failed.at(-1);
  if (last === undefined) return;
  if (at < length) failed.push({ ...last, offset: offset + at, length: length - at });
  throw new DeviceError(name, failed);
}

/** After these the rest of a range is not asked: it would fail alike, or wait as long again. */
function isHopeless(failed: readonly FailedRange[]): boolean {
  const kind = failed.at(-1)?.kind;
  return kind === 'path' || kind === 'timed-out' || kind === 'no-space' || kind === 'refused';
}
