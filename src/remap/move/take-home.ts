import { apart, IoFlags } from '../../block/block-device.ts';
import type { FailedRange } from '../../block/device-error.ts';
import { noSlot, StateFlags } from '../../metadata/mapping-state.ts';
import { commitErrorCode, type RemapCore } from '../remap-core.ts';
import type { GranuleState } from '../table/granule-table.ts';
import { recordOf } from '../table/live-table.ts';
import { runsOf } from '../table/sector-mask.ts';
import { relocationBufferBytes } from './move-memory.ts';
import { leaveSlot, readSlot } from './relocation.ts';
import { tryOften, tryOnce } from './try-often.ts';

/**
 * What became of a granule that was to go home.
 *
 * - `home`             its data is on main, durable and read back, and its slot is free
 * - `not-moved`        it has no slot, or the caller does not want it any more
 * - `main-bad`         main does not take or give back a sector of it
 * - `main-away`        main does not answer: nothing is known about the sector
 * - `spare-bad`        the slot does not give all it holds
 * - `spare-away`       the spare does not answer
 * - `metadata-failed`  the record cannot be stored
 *
 * All but `home` leave it where it was.
 */
export type HomeOutcome =
  | 'home'
  | 'not-moved'
  | 'main-bad'
  | 'main-away'
  | 'spare-bad'
  | 'spare-away'
  | 'metadata-failed';

/**
 * Brings what a slot holds of one granule back to main (R4). A remap is never simply dropped:
 *
 *     slot read < main written < flush < main read back < record without the slot on all replicas < slot free
 *
 * Until the record is durable the slot holds the truth, and main's bytes there are nobody's. The lock has drained every
 * earlier request on the slot, so it is free as soon as the record is durable (R26). `wanted` is asked under the lock.
 */
export async function takeHome(
  core: RemapCore,
  granule: number,
  wanted: (state: GranuleState) => boolean,
): Promise<HomeOutcome> {
  const { arena, granuleBytes } = core.parts;
  const memory = await arena.whenFree(relocationBufferBytes(granuleBytes), 'remap');
  let outcome: HomeOutcome | 'suspect';
  const lock = await core.locks.acquire(granule, granule);
  try {
    // Nothing could record it; and when somebody else has the spare, he may have newer bytes on main (M11).
    if (core.metadataPath.failed) return 'metadata-failed';
    const state = core.stateOf(granule);
    outcome = state.slot !== noSlot && wanted(state) ? await moveHome(core, state, memory) : 'not-moved';
  } finally {
    core.locks.release(lock);
    arena.release(memory);
  }
  if (outcome !== 'main-bad' && outcome !== 'suspect') return outcome;
  // Not even a definite error is about the sector while main takes no write anywhere (R16). Not counted as one more of the
  // storm: that what was bad is bad still is no news. The round takes a lock of its own, so it comes behind ours (R15).
  const works = !core.paths.storm.raging && (await core.paths.judge('main', 'write'));
  return works ? 'main-bad' : 'main-away';
}

async function moveHome(
  core: RemapCore,
  state: GranuleState,
  memory: Uint8Array,
): Promise<HomeOutcome | 'suspect'> {
  const { granuleBytes } = core.parts;
  const content = memory.subarray(0, granuleBytes);
  const readBack = memory.subarray(granuleBytes, 2 * granuleBytes);
  const probeMemory = memory.subarray(2 * granuleBytes);
  const slot = await readSlot(core, state.slot, state.held, content, probeMemory);
  if (slot.failure !== undefined) return 'spare-away';
  // What a slot has lost is for the next read of it to find: it is told, and recorded as gone.
  if (slot.saved !== state.held) return 'spare-bad';
  const failure = await writeHomeAndCompare(core, state, content, readBack);
  if (failure !== undefined) return failure;
  return await recordHome(core, state);
}

async function writeHomeAndCompare(
  core: RemapCore,
  state: GranuleState,
  content: Uint8Array,
  readBack: Uint8Array,
): Promise<HomeOutcome | 'suspect' | undefined> {
  const { main, granuleBytes } = core.parts;
  const start = state.granule * granuleBytes;
  const alone = apart(state.granule);
  const runs = runsOf(state.held);
  for (const { from, to } of runs) {
    const written = await tryOften(() =>
      core.writeMain(content.subarray(from, to), start + from, IoFlags.fua | alone),
    );
    if (written !== undefined) return meaning(core, written);
  }
  const flushed = await tryOnce(() => core.mainFlush.flush());
  if (flushed !== undefined) return 'main-away';
  for (const { from, to } of runs) {
    const target = readBack.subarray(from, to);
    const read = await tryOften(() => main.read(target, start + from, alone));
    if (read !== undefined) return meaning(core, read);
    if (target.every((byte, index) => byte === content[from + index])) continue;
    core.counters.verifyMismatches += 1;
    return 'main-bad';
  }
  return undefined;
}

async function recordHome(core: RemapCore, state: GranuleState): Promise<HomeOutcome> {
  const flags = state.flags & ~StateFlags.unverified;
  const leaves = core.roomWithoutSlot(state);
  try {
    await core.commitMarks([recordOf({ ...state, slot: leaves ? noSlot : state.slot, held: 0, flags })]);
  } catch (error) {
    commitErrorCode(error);
    return 'metadata-failed';
  }
  if (leaves) leaveSlot(core, state, false);
  core.counters.takenHome += 1;
  return 'home';
}

function meaning(core: RemapCore, failure: FailedRange): HomeOutcome | 'suspect' {
  if (failure.kind === 'medium') return 'main-bad';
  if (failure.kind === 'suspect') return 'suspect';
  if (failure.kind === 'path') core.notePathFailed('main');
  return 'main-away';
}
