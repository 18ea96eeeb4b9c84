import type { FailedRange } from '../../block/device-error.ts';
import { Errno, type FailureKind } from '../../block/errno.ts';
import { StateCause } from '../../metadata/mapping-state.ts';
import { commitErrorCode, type RemapCore } from '../remap-core.ts';
import { type RangeFailure, waitingFor } from '../request/request-rounds.ts';
import type { GranuleState } from '../table/granule-table.ts';
import { recordOf } from '../table/live-table.ts';
import { runsOf, sectorMask } from '../table/sector-mask.ts';
import { salvageFromMain } from './main-salvage.ts';
import { relocationBufferBytes } from './move-memory.ts';
import { readSlot, relocate } from './relocation.ts';

/** A part of a read that failed, inside one granule. All bytes are of the virtual device. */
export interface ReadRepair {
  readonly granule: number;
  readonly offset: number;
  readonly length: number;
  readonly place: 'main' | 'spare';
  readonly seen: GranuleState;
  readonly failure: FailedRange;
}

/**
 * Tries once more under the lock, sector by sector, and marks what nobody can read: `unreadable` on main, `gone` on the
 * spare (R4, R5). `target` is the part's bytes of the reader's buffer and gets what came. Failed sectors are returned as
 * ranges; never bytes that nobody wrote. What is undecided at `deadlineMs` answers EIO without a mark (R18).
 */
export async function repairRead(
  core: RemapCore,
  repair: ReadRepair,
  target: Uint8Array,
  deadlineMs: number,
): Promise<'again' | RangeFailure[]> {
  const { offset, length, failure } = repair;
  const place = repair.place === 'main' ? 'main' : core.spares.placeOf(repair.seen.slot);
  if (failure.kind === 'suspect' && !(await core.paths.judge(place, 'read'))) {
    return [{ offset, length, kind: 'path', errno: failure.errno, waitsFor: place }];
  }
  const { arena, granuleBytes } = core.parts;
  const buffer = await arena.whenFree(relocationBufferBytes(granuleBytes), 'remap');
  const lock = await core.locks.acquire(repair.granule, repair.granule);
  try {
    const state = core.stateOf(repair.granule);
    if (!stillThere(core, repair, state)) return 'again';
    return repair.place === 'main'
      ? await salvageFromMain(core, repair, state, target, buffer, deadlineMs)
      : await salvageFromSlot(core, repair, state, target, buffer);
  } finally {
    core.locks.release(lock);
    arena.release(buffer);
  }
}

/** False when any of the failed sectors lives elsewhere by now: the failure then says nothing about it (R2). */
function stillThere(core: RemapCore, repair: ReadRepair, state: GranuleState): boolean {
  const from = repair.offset - repair.granule * core.parts.granuleBytes;
  const mask = sectorMask(from, from + repair.length);
  if (repair.place === 'spare') return state.slot === repair.seen.slot && (mask & ~state.held) === 0;
  return (mask & (state.held | state.unreadable | state.gone)) === 0;
}

/** The slot failed: what it still gives moves to another slot; the rest is `gone`, durably, before the answer. */
async function salvageFromSlot(
  core: RemapCore,
  repair: ReadRepair,
  state: GranuleState,
  target: Uint8Array,
  buffer: Uint8Array,
): Promise<RangeFailure[]> {
  const { granuleBytes } = core.parts;
  const start = repair.granule * granuleBytes;
  const from = repair.offset - start;
  const wanted = sectorMask(from, from + repair.length);
  const content = buffer.subarray(0, granuleBytes);
  const probeMemory = buffer.subarray(granuleBytes, 2 * granuleBytes);
  const { saved, failure } = await readSlot(core, state.slot, state.held, content, probeMemory);
  for (const run of runsOf(saved & wanted)) target.set(content.subarray(run.from, run.to), run.from - from);
  if (failure !== undefined) {
    const isPath = failure.kind === 'suspect' || failure.kind === 'path';
    const { place } = core.spares.ofSlot(state.slot);
    if (isPath) core.paths.noteFailed(place, 'read');
    const ranges = missing(start, wanted & ~saved, isPath ? 'path' : failure.kind, failure.errno);
    return isPath ? ranges.map((range) => waitingFor(place, range)) : ranges;
  }
  if (saved === state.held) return [];
  const recorded = await recordGone(core, state, saved, buffer);
  const ranges = missing(start, wanted & ~saved, recorded === 'durable' ? 'lost' : 'path', Errno.EIO);
  if (recorded !== 'spare-path') return ranges;
  return ranges.map((range) => waitingFor(core.spareToWaitFor, range));
}

function missing(start: number, mask: number, kind: FailureKind, errno: number): FailedRange[] {
  return runsOf(mask).map(({ from, to }) => ({ offset: start + from, length: to - from, kind, errno }));
}

/** What became of the record of a loss. A full spare keeps what is still good where it is. */
async function recordGone(
  core: RemapCore,
  state: GranuleState,
  saved: number,
  buffer: Uint8Array,
): Promise<'durable' | 'spare-path' | 'failed'> {
  const nothingNew = { granuleBytes: buffer, mask: 0 };
  const options = { keepReserve: true, unverified: false, oldSlotIsBad: true };
  const failure = await relocate(core, state, nothingNew, StateCause.spareError, buffer, options);
  if (failure === undefined) return 'durable';
  if (failure === 'spare-path') return failure;
  if (failure !== 'spare-full' && failure !== 'spare-bad') return 'failed';
  const lost = (state.held & ~saved) >>> 0;
  try {
    await core.commitMarks([recordOf({ ...state, held: saved, gone: (state.gone | lost) >>> 0 })]);
    return 'durable';
  } catch (error) {
    commitErrorCode(error);
    return 'failed';
  }
}
