import { IoFlags } from '../../block/block-device.ts';
import { asDeviceError } from '../../block/device-error.ts';
import type { RemapCore } from '../remap-core.ts';
import { type Piece, planPieces } from './request-plan.ts';

/**
 * Bytes that one plan covers: a trim of a whole disk holds up a move for no longer than this part takes, and plans no
 * million pieces.
 */
export const discardPartBytesMax: number = 64 * 1024 * 1024;

/** Pieces of one plan, whatever the table looks like. */
export const discardPiecesMax = 64;

/**
 * R20: best effort. Mappings and marks stay as they are, nothing is remapped, and a disk that fails it has said nothing
 * about its sectors. For order it is a write: it waits for moves, and moves wait for it. Never rejects for the world.
 */
export async function discardRange(core: RemapCore, offset: number, length: number): Promise<void> {
  const end = offset + length;
  for (let at = offset; at < end; ) {
    at += await discardPart(core, at, Math.min(discardPartBytesMax, end - at));
  }
}

/** Resolves to the bytes that were planned for. */
async function discardPart(core: RemapCore, offset: number, length: number): Promise<number> {
  const { inFlight, locks, table, parts } = core;
  const first = Math.floor(offset / parts.granuleBytes);
  const lastGranule = Math.floor((offset + length - 1) / parts.granuleBytes);
  while (locks.blocked(first, lastGranule)) await locks.whenUnblocked(first, lastGranule);
  // Refused like a write; nobody was promised that it is done (M1).
  if (core.metadataPath.failed) return length;
  // From the plan to the ticket nothing is awaited: a move that begins later waits for this ticket (R1).
  const pieces = planPieces(table, parts.granuleBytes, offset, length, discardPiecesMax);
  const ticket = inFlight.begin(first, lastGranule);
  try {
    await Promise.all(pieces.map((piece) => discardPiece(core, piece)));
  } finally {
    inFlight.end(ticket);
  }
  const last = pieces.at(-1)!;
  return last.offset + last.length - offset;
}

async function discardPiece(core: RemapCore, piece: Piece): Promise<void> {
  const place = core.placeOf(piece);
  if (place === 'lost' || !core.optional.knows(place, 'discard')) return;
  const device = core.deviceAt(place);
  // A slot may be smaller than a block of the spare: what shares its block with other sectors stays.
  const block = device.geometry.logicalBlockBytes;
  const from = Math.ceil(piece.deviceOffset / block) * block;
  const to = Math.floor((piece.deviceOffset + piece.length) / block) * block;
  if (from >= to) return;
  try {
    // A spare that gives its room away has none when a sector must be saved (M17).
    const flags = place === 'main' ? IoFlags.none : IoFlags.keepAllocated;
    await core.discards.of(place).run(() => device.discard(from, to - from, flags));
    (place === 'main' ? core.mainFlush : core.spares.of(place).flush).wroteUnstable();
  } catch (error) {
    core.optional.noteFailure(place, 'discard', asDeviceError(error));
  }
}
