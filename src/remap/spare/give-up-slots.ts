import { delay } from '../../block/clock.ts';
import { noSlot, StateCause } from '../../metadata/mapping-state.ts';
import { leaveSlot } from '../move/relocation.ts';
import type { RemapCore } from '../remap-core.ts';
import { recordOf } from '../table/live-table.ts';
import { sectorCountOf } from '../table/sector-mask.ts';

/** Entries of the table changed between two turns of the event loop: some milliseconds. */
const entriesPerSlice = 1024;

/**
 * The home is lost: what only it held is gone (R4), for every granule at once. In memory: a checkpoint makes it durable,
 * before anybody can ask. Nothing may be under way. Resolves to the sectors that are gone now.
 */
export async function giveUpSlots(core: RemapCore): Promise<number> {
  const unixSeconds = Math.floor(core.parts.clock.unixMs() / 1000);
  let sectors = 0;
  let visited = 0;
  let state = core.table.atOrAfter(0);
  while (state !== undefined) {
    const { granule, slot, held } = state;
    if (slot !== noSlot && core.spares.home.hasSlot(slot)) {
      const gone = (state.gone | held) >>> 0;
      const kept = { ...state, held: 0, gone, cause: StateCause.spareError, unixSeconds };
      const leaves = core.roomWithoutSlot(kept);
      core.live.activate([recordOf(leaves ? { ...kept, slot: noSlot } : kept)]);
      if (leaves) leaveSlot(core, state, false);
      sectors += sectorCountOf(held);
    }
    visited += 1;
    if (visited % entriesPerSlice === 0) await delay(core.parts.clock, 0);
    state = core.table.atOrAfter(granule + 1);
  }
  return sectors;
}
