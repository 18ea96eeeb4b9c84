import { noSlot, StateCause, StateFlags } from '../../metadata/mapping-state.ts';
import { relocationBufferBytes, relocationBuffers } from '../move/move-memory.ts';
import { leaveSlot, readSlot, relocate } from '../move/relocation.ts';
import { commitErrorCode, type RemapCore } from '../remap-core.ts';
import type { GranuleState } from '../table/granule-table.ts';
import { recordOf } from '../table/live-table.ts';
import { sectorCountOf } from '../table/sector-mask.ts';
import type { SpareUnit } from './spare-unit.ts';

/**
 * What became of a granule whose spare is to go.
 *
 * - `moved`            it has no slot there any more
 * - `not-there`        nor had it one
 * - `unreadable`       the slot does not give all that it holds
 * - `spare-away`       a spare does not answer
 * - `no-room`          the others have no slot for it
 * - `no-marks`         it holds nothing but marks, which have no room without its slot (M18)
 * - `metadata-failed`  the record cannot be stored
 */
export type LeaveResult =
  | 'moved'
  | 'not-there'
  | 'unreadable'
  | 'spare-away'
  | 'no-room'
  | 'no-marks'
  | 'metadata-failed';

export interface LeaveOutcome {
  readonly result: LeaveResult;
  /** Sectors of which nobody has the bytes any more (R4). */
  readonly goneSectors: number;
}

export interface LeaveChoices {
  /** What the slot does not give is gone; else the granule stays. */
  readonly giveUp: boolean;
  /** The spare is not asked at all. */
  readonly isDead: boolean;
}

/**
 * Moves a granule from one spare to another under its lock:
 *
 *     slot read < data to the new slot < flush < read back < record on all replicas < live < old slot free
 */
export async function leaveSpare(
  core: RemapCore,
  granule: number,
  unit: SpareUnit,
  choices: LeaveChoices,
): Promise<LeaveOutcome> {
  const { arena, granuleBytes } = core.parts;
  const memory = await arena.whenFree(relocationBufferBytes(granuleBytes), 'remap');
  const lock = await core.locks.acquire(granule, granule);
  try {
    if (core.metadataPath.failed) return nothingGone('metadata-failed');
    const state = core.stateOf(granule);
    if (state.slot === noSlot || !unit.hasSlot(state.slot)) return nothingGone('not-there');
    if (choices.isDead) return await giveUpOne(core, state);
    return await moveOne(core, state, memory, choices.giveUp);
  } finally {
    core.locks.release(lock);
    arena.release(memory);
  }
}

async function moveOne(
  core: RemapCore,
  state: GranuleState,
  memory: Uint8Array,
  giveUp: boolean,
): Promise<LeaveOutcome> {
  const { granuleBytes } = core.parts;
  const { bytes, buffer } = relocationBuffers(memory, granuleBytes);
  if (state.held === 0) {
    if (!core.roomWithoutSlot(state)) return nothingGone('no-marks');
  } else {
    const content = buffer.subarray(0, granuleBytes);
    const probeMemory = buffer.subarray(granuleBytes);
    const { saved, failure } = await readSlot(core, state.slot, state.held, content, probeMemory);
    if (failure !== undefined) return nothingGone('spare-away');
    if (saved !== state.held && !giveUp) return nothingGone('unreadable');
  }
  const failure = await relocate(core, state, { granuleBytes: bytes, mask: 0 }, causeOf(state), buffer, {
    keepReserve: true,
    unverified: (state.flags & StateFlags.unverified) !== 0,
    oldSlotIsBad: false,
    sinceUnixSeconds: state.unixSeconds,
  });
  if (failure === undefined) {
    const after = core.stateOf(state.granule);
    return { result: 'moved', goneSectors: sectorCountOf((after.gone & ~state.gone) >>> 0) };
  }
  if (failure === 'spare-path') return nothingGone('spare-away');
  return nothingGone(failure === 'metadata-failed' ? failure : 'no-room');
}

/** R4: durable before anybody is told. */
async function giveUpOne(core: RemapCore, state: GranuleState): Promise<LeaveOutcome> {
  const unixSeconds = Math.floor(core.parts.clock.unixMs() / 1000);
  const gone = (state.gone | state.held) >>> 0;
  const kept: GranuleState = { ...state, held: 0, gone, cause: StateCause.spareError, unixSeconds };
  if (!core.roomWithoutSlot(kept)) return nothingGone('no-marks');
  try {
    await core.commitMarks([recordOf({ ...kept, slot: noSlot })]);
  } catch (error) {
    commitErrorCode(error);
    return nothingGone('metadata-failed');
  }
  leaveSlot(core, state, false);
  return { result: 'moved', goneSectors: sectorCountOf(state.held) };
}

/** Nothing new is known of main. */
function causeOf({ cause }: GranuleState): StateCause {
  return Object.values(StateCause).find((known) => known === cause) ?? StateCause.unknown;
}

function nothingGone(result: LeaveResult): LeaveOutcome {
  return { result, goneSectors: 0 };
}
