import { sectorBytes } from '../../block/block-device.ts';
import { StateFlags } from '../../metadata/mapping-state.ts';
import type { RemapCore } from '../remap-core.ts';
import { sectorCountOf } from '../table/sector-mask.ts';
import { lookAtTable } from '../table/table-walk.ts';
import { MessageError } from './message-error.ts';
import { granulesOf, wholeDevice, wholeNumber } from './message-words.ts';

/** A line for each at most: more than any terminal shows, and 64 KiB of an answer. */
export const mapCellsMax = 4096;
const mapCellsDefault = 64;

/** Sectors of one cell that are not where they always were. */
interface Cell {
  moved: number;
  unreadable: number;
  freshZero: number;
  gone: number;
}

/**
 * The device as a picture of at most CELLS cells of one size, whole granules each: first `cells COUNT sectors SIZE`, then for each cell
 * in which anything is bad `CELL moved N unreadable N fresh-zero N gone N`, in sectors.
 */
export async function mapText(core: RemapCore, words: readonly string[]): Promise<string> {
  const [countWord = String(mapCellsDefault), ...more] = words;
  const asked = wholeNumber(countWord);
  if (asked === undefined || asked === 0 || asked > mapCellsMax || more.length > 0) {
    throw new MessageError('MESSAGE_INVALID', `map: expected [CELLS], from 1 to ${mapCellsMax}`);
  }
  const { granuleBytes, sizeBytes } = core.parts;
  const granules = Math.ceil(sizeBytes / granuleBytes);
  const granulesOfCell = Math.ceil(granules / asked);
  const cells = new Map<number, Cell>();
  await lookAtTable(core, granulesOf(core, wholeDevice(core)), (state) => {
    const at = Math.floor(state.granule / granulesOfCell);
    const cell = cells.get(at) ?? { moved: 0, unreadable: 0, freshZero: 0, gone: 0 };
    cells.set(at, cell);
    cell.moved += sectorCountOf(state.held);
    cell.gone += sectorCountOf(state.gone);
    if ((state.flags & StateFlags.freshZero) === 0) cell.unreadable += sectorCountOf(state.unreadable);
    else cell.freshZero += sectorCountOf(state.unreadable);
    return 'go-on';
  });
  return [
    `cells ${Math.ceil(granules / granulesOfCell)} sectors ${(granulesOfCell * granuleBytes) / sectorBytes}`,
    ...[...cells].map(
      ([at, { moved, unreadable, freshZero, gone }]) =>
        `${at} moved ${moved} unreadable ${unreadable} fresh-zero ${freshZero} gone ${gone}`,
    ),
  ].join('\n');
}
