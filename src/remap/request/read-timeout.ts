import { apart } from '../../block/block-device.ts';
import type { FailedRange } from '../../block/device-error.ts';
import { StateCause } from '../../metadata/mapping-state.ts';
import { tryOnce } from '../move/try-often.ts';
import type { RemapCore } from '../remap-core.ts';
import { freshZeros } from '../table/fresh-map.ts';
import { recordOf } from '../table/live-table.ts';
import { sectorMask } from '../table/sector-mask.ts';

/**
 * R14: finds out beside the reader, who has his EIO, whose fault a read of main without an answer was, and marks the
 * sectors when it is theirs. The kernel may still fill the reader's memory, so nothing is read into that again (I27).
 *
 * They are asked once more under the lock: while the read hung, or the probe ran, a write may have made them good, and a mark
 * would take its acknowledged bytes away.
 */
export async function blameTimeout(core: RemapCore, range: FailedRange): Promise<void> {
  const { granuleBytes, clock } = core.parts;
  const first = Math.floor(range.offset / granuleBytes);
  const last = Math.floor((range.offset + range.length - 1) / granuleBytes);
  const fault = await core.paths.judgeTimeout('main', 'read', first, last);
  // Of a granule that was never written a mark would say that it reads as zeros (R13).
  if (fault !== 'granule' || core.fresh?.isUnwritten(first) === true) return;
  const memory = await core.parts.arena.whenFree(range.length, 'remap');
  const lock = await core.locks.acquire(first, first);
  try {
    const state = core.stateOf(first);
    // Nor beside marks that do: it would read as zeros with them.
    if (freshZeros(state) !== 0) return;
    const from = range.offset - first * granuleBytes;
    const mask = sectorMask(from, from + range.length) & ~(state.held | state.unreadable | state.gone);
    if (mask === 0 || !core.live.roomForMarks()) return;
    const again = await tryOnce(() => core.parts.main.read(memory, range.offset, apart(first)));
    if (again?.kind !== 'timed-out' && again?.kind !== 'medium') return;
    const unreadable = (state.unreadable | mask) >>> 0;
    const unixSeconds = Math.floor(clock.unixMs() / 1000);
    core.commitLazily([recordOf({ ...state, unreadable, cause: StateCause.readError, unixSeconds })]);
  } finally {
    core.locks.release(lock);
    core.parts.arena.release(memory);
  }
}
