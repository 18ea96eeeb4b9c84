import { sectorBytes } from '../../block/block-device.ts';
import { asDeviceError } from '../../block/device-error.ts';
import { StateCause } from '../../metadata/mapping-state.ts';
import { relocate, relocationBufferBytes, relocationBuffers } from '../move/relocation.ts';
import type { RemapCore } from '../remap-core.ts';
import { runsOf, sectorMask } from '../table/sector-mask.ts';
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
  const { arena, granuleBytes } = core.parts;
  const memory = await arena.whenFree(relocationBufferBytes(granuleBytes), 'remap');
  const { bytes, buffer } = relocationBuffers(memory, granuleBytes);
  const lock = await core.locks.acquire(granule, granule);
  try {
    const state = core.stateOf(granule);
    const all = sectorMask(0, core.bytesOfGranule(granule));
    const onMain = (all & ~(state.held | state.unreadable | state.gone)) >>> 0;
    if (onMain === 0) return 0;
    await readFromMain(core, granule, onMain, bytes);
    const options = { keepReserve: true, unverified: true, oldSlotIsBad: false };
    const failure = await relocate(
      core,
      state,
      { granuleBytes: bytes, mask: onMain },
      StateCause.operator,
      buffer,
      options,
    );
    if (failure !== undefined)
      throw new MessageError('MESSAGE_FAILED', `remap: block ${granule}: ${failure}`);
    return 1;
  } finally {
    core.locks.release(lock);
    arena.release(memory);
  }
}

async function readFromMain(
  core: RemapCore,
  granule: number,
  mask: number,
  bytes: Uint8Array,
): Promise<void> {
  const start = granule * core.parts.granuleBytes;
  try {
    for (const { from, to } of runsOf(mask))
      await core.parts.main.read(bytes.subarray(from, to), start + from);
  } catch (error) {
    const sector = asDeviceError(error).ranges[0]?.offset ?? start;
    throw new MessageError(
      'MESSAGE_FAILED',
      `remap: sector ${Math.floor(sector / sectorBytes)} cannot be read, so there is nothing to move: write it instead`,
    );
  }
}
