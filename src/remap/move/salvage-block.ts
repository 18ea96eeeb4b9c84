import { apart } from '../../block/block-device.ts';
import { noSlot, StateCause } from '../../metadata/mapping-state.ts';
import type { RemapCore } from '../remap-core.ts';
import { freshZeros } from '../table/fresh-map.ts';
import type { GranuleState } from '../table/granule-table.ts';
import { recordOf } from '../table/live-table.ts';
import { sectorMask } from '../table/sector-mask.ts';
import { relocationBufferBytes, relocationBuffers } from './move-memory.ts';
import { relocate } from './relocation.ts';
import { tryOften } from './try-often.ts';

/** What the salvager knows about one granule. Sector maps. */
export interface SalvageEntry {
  readonly granule: number;
  /** Undecided. */
  mask: number;
  /** Failed with an error that is definitely about the sector. */
  medium: number;
  /** Failed with an error that may be the path's while main worked elsewhere: in one window, and in two (R17). */
  suspectOnce: number;
  suspectTwice: number;
  rounds: number;
  /** Times that main was away. */
  away: number;
  notBeforeMs: number;
}

/**
 * Reads one block of a granule, under its lock for no more than that. What comes after failures that show a bad sector is
 * moved to the spare, whose reserve is not for this (R31). What does not come in the last round is marked under the same
 * lock: a write that waited for it may make the sector good the moment it is released (R2).
 *
 * - `settled`  read, or no longer main's, or no longer undecided
 * - `failed`   main works, and does not give it
 * - `away`     nothing can be said about it now
 */
export async function salvageBlock(
  core: RemapCore,
  entry: SalvageEntry,
  from: number,
  isLastRound: boolean,
): Promise<'settled' | 'failed' | 'away'> {
  const { arena, granuleBytes, main } = core.parts;
  const { granule } = entry;
  const sectors = sectorMask(from, from + main.geometry.logicalBlockBytes);
  const memory = await arena.whenFree(relocationBufferBytes(granuleBytes), 'remap');
  const lock = await core.locks.acquire(granule, granule);
  try {
    const state = core.stateOf(granule);
    if (!isUndecided(core, state, sectors)) return 'settled';
    const { bytes, buffer } = relocationBuffers(memory, granuleBytes);
    const target = bytes.subarray(from, from + main.geometry.logicalBlockBytes);
    const failure = await tryOften(() => main.read(target, granule * granuleBytes + from, apart(granule)));
    if (failure === undefined) {
      await moveIfBad(core, entry, state, sectors, bytes, buffer);
      return 'settled';
    }
    core.counters.mainReadErrors += 1;
    if (failure.kind === 'medium') entry.medium = (entry.medium | sectors) >>> 0;
    else if (failure.kind !== 'suspect') return 'away';
    else if (await core.probe.worksUnderLock(buffer.subarray(0, granuleBytes))) noteWindow(entry, sectors);
    else {
      core.paths.noteFailed('main', 'read');
      return 'away';
    }
    // A mark may be lost without harm (R4).
    if (isLastRound && core.live.roomForMarks())
      core.commitLazily([recordOf(withMarks(core, state, sectors))]);
    return 'failed';
  } finally {
    core.locks.release(lock);
    arena.release(memory);
  }
}

/** The state with more unreadable sectors. Why the others were moved, and when, stays. */
export function withMarks(core: RemapCore, state: GranuleState, unreadable: number): GranuleState {
  const marked = { ...state, unreadable: (state.unreadable | unreadable) >>> 0 };
  if (state.slot !== noSlot) return marked;
  const unixSeconds = Math.floor(core.parts.clock.unixMs() / 1000);
  return { ...marked, cause: StateCause.readError, unixSeconds };
}

/** Sectors that were never written are the reader's to judge: they read as zeros (R13). */
function isUndecided(core: RemapCore, state: GranuleState, sectors: number): boolean {
  if (((state.held | state.unreadable | state.gone) & sectors) !== 0) return false;
  return core.fresh?.isUnwritten(state.granule) !== true && freshZeros(state) === 0;
}

/** The rounds are a second apart at least: a second failure is another window. */
function noteWindow(entry: SalvageEntry, sectors: number): void {
  entry.suspectTwice = (entry.suspectTwice | (entry.suspectOnce & sectors)) >>> 0;
  entry.suspectOnce = (entry.suspectOnce | sectors) >>> 0;
}

async function moveIfBad(
  core: RemapCore,
  entry: SalvageEntry,
  state: GranuleState,
  sectors: number,
  bytes: Uint8Array,
  buffer: Uint8Array,
): Promise<void> {
  core.counters.readsSaved += 1;
  if (((entry.medium | entry.suspectTwice) & sectors) === 0) return;
  await moveSaved(core, state, sectors, bytes, buffer);
}

/**
 * Moves sectors that main gave only when it was asked again. False when they stay on main, where they are at least: with a
 * spare that is full but for the reserve, or does not answer.
 */
export async function moveSaved(
  core: RemapCore,
  state: GranuleState,
  mask: number,
  bytes: Uint8Array,
  buffer: Uint8Array,
): Promise<boolean> {
  // A reader waits for this: nothing is tried that is known to fail late.
  if (core.metadataPath.failed || core.paths.spare.failed) return false;
  const options = { keepReserve: true, unverified: false, oldSlotIsBad: false };
  const failure = await relocate(
    core,
    state,
    { granuleBytes: bytes, mask },
    StateCause.salvage,
    buffer,
    options,
  );
  if (failure === undefined) core.counters.salvagedGranules += 1;
  return failure === undefined;
}
