import { DeviceError, type FailedRange } from '../../block/device-error.ts';
import { Errno } from '../../block/errno.ts';
import { StateCause, StateFlags } from '../../metadata/mapping-state.ts';
import { commitErrorCode, type RemapCore } from '../remap-core.ts';
import { freshZeros } from '../table/fresh-map.ts';
import type { GranuleState } from '../table/granule-table.ts';
import { recordOf } from '../table/live-table.ts';
import { runsOf, sectorMask } from '../table/sector-mask.ts';
import type { Piece } from './request-plan.ts';
import { type ByteRange, unitsOf } from './request-rounds.ts';

/** Reads of what main cannot give and nobody ever wrote (R13). */

/** Answers a piece of lost sectors: zeros for those that were never written since `create --fresh`, an error for the others. */
export function answerLost(core: RemapCore, piece: Piece, target: Uint8Array): Promise<void> {
  const { granuleBytes } = core.parts;
  const failed: FailedRange[] = [];
  for (const unit of unitsOf(piece, granuleBytes)) {
    const granule = Math.floor(unit.offset / granuleBytes);
    const start = granule * granuleBytes;
    const mask = sectorMask(unit.offset - start, unit.offset + unit.length - start);
    const zeros = (mask & zerosOf(core, core.stateOf(granule))) >>> 0;
    for (const { from, to } of runsOf(zeros)) {
      target.fill(0, start + from - piece.offset, start + to - piece.offset);
      core.counters.freshZeros += (to - from) / 512;
    }
    for (const { from, to } of runsOf(mask & ~zeros)) {
      failed.push({ offset: start + from, length: to - from, kind: 'lost', errno: Errno.EIO });
    }
  }
  return failed.length === 0 ? Promise.resolve() : Promise.reject(new DeviceError('lost', failed));
}

/** What was imported as suspect is not known to be unreadable yet: main may still give it (R34). */
function zerosOf(core: RemapCore, state: GranuleState): number {
  const judged = (state.flags & StateFlags.suspect) === 0;
  if (judged && core.fresh?.isUnwritten(state.granule) === true) return state.unreadable;
  return freshZeros(state);
}

/**
 * Sectors of `unreadable` were never written: they are zeros for this reader, and by their mark for every later one, also
 * over a restart, until their first write. The caller holds the granule's lock since before it asked whether it is unwritten.
 * Returns what is left of `failed`.
 */
export async function zeroUnwritten(
  core: RemapCore,
  part: ByteRange,
  state: GranuleState,
  unreadable: number,
  target: Uint8Array,
  failed: readonly FailedRange[],
): Promise<FailedRange[]> {
  const start = state.granule * core.parts.granuleBytes;
  for (const { from, to } of runsOf(unreadable)) {
    target.fill(0, start + from - part.offset, start + to - part.offset);
    core.counters.freshZeros += (to - from) / 512;
  }
  if (core.live.roomForMarks()) await storeMark(core, state, unreadable);
  return failed.filter((range) => {
    const from = range.offset - start;
    return (sectorMask(from, from + range.length) & ~unreadable) !== 0;
  });
}

/** Durable before the answer: the region may end for good in the next moment. Without the mark zeros are right for now. */
async function storeMark(core: RemapCore, state: GranuleState, unreadable: number): Promise<void> {
  const marked: GranuleState = {
    ...state,
    unreadable: (state.unreadable | unreadable) >>> 0,
    flags: state.flags | StateFlags.freshZero,
    cause: StateCause.readError,
    unixSeconds: Math.floor(core.parts.clock.unixMs() / 1000),
  };
  try {
    await core.commitMarks([recordOf(marked)]);
  } catch (error) {
    commitErrorCode(error);
  }
}
