import { type Extent, type ExtentState, sectorBytes } from '../../block/block-device.ts';
import { asDeviceError } from '../../block/device-error.ts';
import type { RemapCore } from '../remap-core.ts';
import type { GranuleTable } from '../table/granule-table.ts';
import { type Piece, planPieces } from './request-plan.ts';
import { unitsOf } from './request-rounds.ts';

/** Bytes that one answer covers at most. */
export const extentsBytesMax: number = 64 * 1024 * 1024;

/** Pieces of one plan: where the table is dense, an answer covers less. */
export const extentPiecesMax = 1024;

/**
 * R29: states of a range in order. That a part is a hole or zeros is main's word, and counts only for what is simply main's:
 * not remapped, not lost.
 */
export async function extentsOf(core: RemapCore, offset: number, length: number): Promise<readonly Extent[]> {
  const { locks, table, parts } = core;
  const covered = Math.min(length, extentsBytesMax);
  const first = Math.floor(offset / parts.granuleBytes);
  const last = Math.floor((offset + covered - 1) / parts.granuleBytes);
  while (locks.blocked(first, last)) await locks.whenUnblocked(first, last);
  const pieces = planPieces(table, parts.granuleBytes, offset, covered, extentPiecesMax);
  // What the table says now, before anybody else has a turn.
  const special = pieces.map((piece) =>
    piece.place === 'main' ? undefined : specialExtents(table, piece, parts.granuleBytes),
  );
  // No ticket: up to a thousand questions would hold up a move for as long. What moves meanwhile was not moved when this was
  // asked, and a hole that main has then was one before: a write that left it has not reached main.
  const extents: Extent[] = [];
  for (const [index, piece] of pieces.entries()) {
    const states = special[index] ?? (await mainExtents(core, piece));
    for (const extent of states) append(extents, extent.state, extent.length);
  }
  return extents;
}

/** What the table says of a piece that is not simply main's. */
export function specialExtents(table: GranuleTable, piece: Piece, granuleBytes: number): readonly Extent[] {
  if (piece.place === 'spare') return [{ length: piece.length, state: 'remapped' }];
  const extents: Extent[] = [];
  for (const { offset, length } of unitsOf(piece, sectorBytes)) {
    const sector = 1 << ((offset % granuleBytes) / sectorBytes);
    const gone = table.get(Math.floor(offset / granuleBytes))?.gone ?? 0;
    append(extents, (gone & sector) === 0 ? 'unreadable' : 'gone', length);
  }
  return extents;
}

/** Main's answer, cut to the piece; what it does not cover, or fails to tell, is data. */
async function mainExtents(core: RemapCore, piece: Piece): Promise<readonly Extent[]> {
  const extents: Extent[] = [];
  let left = piece.length;
  for (const extent of await askMain(core, piece)) {
    const length = Math.min(left, extent.length);
    // What lies below main may be remapped or lost there: none of it is to be taken for a hole here.
    const state = extent.state === 'hole' || extent.state === 'zero' ? extent.state : 'data';
    append(extents, state, length);
    left -= length;
  }
  append(extents, 'data', left);
  return extents;
}

async function askMain(core: RemapCore, piece: Piece): Promise<readonly Extent[]> {
  try {
    return await core.parts.main.extents(piece.deviceOffset, piece.length);
  } catch (error) {
    asDeviceError(error);
    return [];
  }
}

function append(extents: Extent[], state: ExtentState, length: number): void {
  if (length === 0) return;
  const last = extents.at(-1);
  if (last?.state === state) extents[extents.length - 1] = { state, length: last.length + length };
  else extents.push({ state, length });
}
