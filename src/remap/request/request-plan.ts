import { sectorBytes } from '../../block/block-device.ts';
import { noSlot } from '../../metadata/mapping-state.ts';
import type { GranuleState, GranuleTable } from '../table/granule-table.ts';

/** Where the bytes of a piece live now. */
export type Place = 'main' | 'spare' | 'lost';

/** A part of a request that goes to one place in one device request. All are bytes. */
export interface Piece {
  readonly place: Place;
  /** On the virtual device. */
  readonly offset: number;
  readonly length: number;
  /** On main or the spare; the virtual offset for a lost piece. */
  readonly deviceOffset: number;
}

class PieceList {
  readonly pieces: Piece[] = [];

  add(place: Place, offset: number, length: number, deviceOffset: number): void {
    const last = this.pieces.at(-1);
    const joins =
      last !== undefined &&
      last.place === place &&
      last.deviceOffset + last.length === deviceOffset &&
      last.offset + last.length === offset;
    if (joins) this.pieces[this.pieces.length - 1] = { ...last, length: last.length + length };
    else this.pieces.push({ place, offset, length, deviceOffset });
  }
}

/**
 * Splits bytes `offset` to `offset + length` of the virtual device into pieces, ascending, each in one place; neighbours
 * that follow each other on their device are one piece. The request itself is never changed (I9). A plan ends early, at the
 * end of a granule, where it has `piecesMax` pieces: for requests whose length nobody's memory bounds.
 */
export function planPieces(
  table: GranuleTable,
  granuleBytes: number,
  offset: number,
  length: number,
  piecesMax: number = Number.POSITIVE_INFINITY,
): Piece[] {
  const list = new PieceList();
  const end = offset + length;
  let position = offset;
  while (position < end && list.pieces.length < piecesMax) {
    const state = table.atOrAfter(Math.floor(position / granuleBytes));
    const special =
      state === undefined ? end : Math.min(end, Math.max(position, state.granule * granuleBytes));
    if (special > position) list.add('main', position, special - position, position);
    position = special;
    if (state === undefined || position >= end) break;
    const granuleEnd = Math.min(end, (state.granule + 1) * granuleBytes);
    addGranule(list, state, granuleBytes, position, granuleEnd);
    position = granuleEnd;
  }
  return list.pieces;
}

function addGranule(
  list: PieceList,
  state: GranuleState,
  granuleBytes: number,
  from: number,
  to: number,
): void {
  const granuleStart = state.granule * granuleBytes;
  for (let at = from; at < to; at += sectorBytes) {
    const bit = 1 << ((at - granuleStart) / sectorBytes);
    if ((state.held & bit) !== 0 && state.slot !== noSlot) {
      list.add('spare', at, sectorBytes, state.slot * granuleBytes + (at - granuleStart));
    } else if (((state.unreadable | state.gone) & bit) !== 0) {
      list.add('lost', at, sectorBytes, at);
    } else {
      list.add('main', at, sectorBytes, at);
    }
  }
}
