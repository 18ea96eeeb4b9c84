import { sectorBytes } from '../../block/block-device.ts';
import { StateCause } from '../../metadata/mapping-state.ts';
import { moveFromMain } from '../move/move-from-main.ts';
import type { RemapCore } from '../remap-core.ts';
import { leftLines, walkGranules } from '../table/table-walk.ts';
import type { MessageContext } from './message-context.ts';
import { MessageError } from './message-error.ts';
import { granulesOf, rangeOfWords } from './message-words.ts';

/** Granules that one `remap` message may move. */
export const remapGranulesMax = 1024;

/** `remap SECTOR [COUNT]`: moves sectors to the spare before they fail. The reserve is not for this (R31). */
export async function remapSectors(context: MessageContext, words: readonly string[]): Promise<string> {
  const { core, stopped } = context;
  const { granuleBytes } = core.parts;
  const range = rangeOfWords(core, 'remap', words);
  const { first, last } = granulesOf(core, range);
  if (last - first >= remapGranulesMax) {
    const sectorsMax = (remapGranulesMax * granuleBytes) / sectorBytes;
    throw new MessageError(
      'MESSAGE_INVALID',
      `remap: ${range.sectorCount} sectors are too many at once, at most ${sectorsMax}`,
    );
  }
  let moved = 0;
  let known = 0;
  const end = await walkGranules(core, {
    first,
    last,
    stopped,
    visit: async (granule) => {
      const isNew = await remapGranule(core, granule);
      moved += isNew;
      known += 1 - isNew;
      return undefined;
    },
  });
  const others = known > 0 ? ', the others were moved before' : '';
  const reply = `remapped ${moved} of ${moved + known} blocks of ${granuleBytes} bytes${others}`;
  return [reply, ...leftLines(core, end)].join('\n');
}

/** 1 when the granule was moved, 0 when all of it was on the spare already. */
async function remapGranule(core: RemapCore, granule: number): Promise<number> {
  const moved = await moveFromMain(core, granule, StateCause.operator, true);
  if (moved.outcome === 'moved') return 1;
  if (moved.outcome === 'nothing') return 0;
  throw new MessageError(
    'MESSAGE_FAILED',
    moved.outcome === 'unreadable'
      ? `remap: sector ${Math.floor(moved.offset / sectorBytes)} cannot be read, so there is nothing to move: write it instead`
      : `remap: block ${granule}: ${moved.outcome}`,
  );
}
