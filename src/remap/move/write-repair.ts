import { apart, IoFlags } from '../../block/block-device.ts';
import { asDeviceError, type FailedRange } from '../../block/device-error.ts';
import { Errno } from '../../block/errno.ts';
import { StateCause } from '../../metadata/mapping-state.ts';
import { FlushBehindError } from '../order/write-through.ts';
import type { DevicePlace } from '../path/device-paths.ts';
import { commitErrorCode, type RemapCore } from '../remap-core.ts';
import type { RangeFailure } from '../request/request-rounds.ts';
import type { GranuleState } from '../table/granule-table.ts';
import { recordOf } from '../table/live-table.ts';
import { runsOf, sectorMask } from '../table/sector-mask.ts';
import { relocationBufferBytes, relocationBuffers } from './move-memory.ts';
import { type RelocationFailure, relocate } from './relocation.ts';
import { writeSlotPart } from './slot-part.ts';

/**
 * Why a part of a write needs its granule's lock.
 *
 * - `main-failed`   main has a medium error there
 * - `spare-failed`  the slot that holds it has one
 * - `lost`          the range covers lost sectors (R23)
 * - `slot-part`     the range begins or ends inside a block of the spare (R9)
 */
export type WriteRepairReason = 'main-failed' | 'spare-failed' | 'lost' | 'slot-part';

/** A part of a write that could not simply be sent to its place: inside one granule. */
export interface WriteRepair {
  readonly granule: number;
  /** Bytes on the virtual device. */
  readonly offset: number;
  readonly length: number;
  readonly reason: WriteRepairReason;
  /** The granule as it was when the part was issued. */
  readonly seen: GranuleState;
  /** Its sectors that no device has taken yet: lost ones, failed ones, and those left for the lock. */
  readonly unwritten: number;
  /** Only sectors that are lost when the lock is held: the others may be newer than these bytes. */
  readonly lostOnly?: boolean;
  /** The narrowing budget ran out: main may be good here, `verify` will tell (R19). */
  readonly unverified: boolean;
  /** What the device said, or that the range is lost. */
  readonly failure: FailedRange;
}

/** `again`: the granule changed meanwhile, so the failure says nothing any more (R2): resolve and issue anew. */
export type RepairOutcome = 'done' | 'again' | RangeFailure;

/**
 * Makes one part of a write true under the granule's lock: R1-R3, R5, R9, R23. `source` is the part's bytes.
 * The write is not lost and not acknowledged too early: `done` means stored where the durable table points to.
 */
export async function repairWrite(
  core: RemapCore,
  repair: WriteRepair,
  source: Uint8Array,
  flags: number,
): Promise<RepairOutcome> {
  // A probe takes a lock of its own, so it comes before ours.
  const place = placeOf(core, repair);
  if (isDoubtful(core, repair) && !(await core.paths.judge(place, 'write')))
    return pathFailure(repair, place);
  // All that could be done needs a record on the home (R5).
  if (core.paths.spare.failed) return pathFailure(repair, 'spare');
  const outcome = await repairUnderLock(core, repair, source, flags, asksMainFirst(core, repair));
  const undecided = typeof outcome === 'object' && outcome.kind === 'suspect';
  if (!undecided) return outcome;
  // Main was asked first and gave EIO (R23): the sector is bad only when main works elsewhere (R15).
  if (!(await core.paths.judge(place, 'write'))) return pathFailure(repair, place);
  return await repairUnderLock(core, repair, source, flags, false);
}

/** True when the failure may be the path's (R15), or main's as a whole (R16): a probe decides. */
function isDoubtful({ paths }: RemapCore, { granule, reason, failure }: WriteRepair): boolean {
  if (reason !== 'main-failed') return failure.kind === 'suspect';
  paths.storm.noteFailed(granule);
  return failure.kind === 'suspect' || paths.storm.raging || paths.mainWrites.failed;
}

/** R23 for lost sectors; for others when the operator wants main tried twice, as drive firmware does. */
function asksMainFirst(core: RemapCore, repair: WriteRepair): boolean {
  if (repair.reason === 'lost') return true;
  return (
    repair.reason === 'main-failed' && !repair.unverified && core.policies.onWriteError === 'rewrite-first'
  );
}

async function repairUnderLock(
  core: RemapCore,
  repair: WriteRepair,
  source: Uint8Array,
  flags: number,
  mainFirst: boolean,
): Promise<RepairOutcome> {
  const { arena, granuleBytes } = core.parts;
  // Memory before the lock: whoever holds a lock needs nothing that another lock's holder could have (I14).
  const memory = await arena.whenFree(relocationBufferBytes(granuleBytes), 'remap');
  const lock = await core.locks.acquire(repair.granule, repair.granule);
  try {
    // M1: a record of this granule may be in doubt.
    if (core.metadataPath.failed) return refusal(core, repair, 'metadata-failed');
    const state = core.stateOf(repair.granule);
    if (!failureStands(core, repair, state)) return 'again';
    return await repairLocked(core, repair, state, source, flags, memory, mainFirst);
  } finally {
    core.locks.release(lock);
    arena.release(memory);
  }
}

/**
 * False when every sector that failed lives elsewhere by now: the failure then says nothing (R2). One that is left is
 * enough, this write has bytes for all of them and nobody has been told yet; asking for an unchanged granule would send
 * each of its 32 sectors' writers to the bad sector once more for every other one.
 */
function failureStands(core: RemapCore, repair: WriteRepair, state: GranuleState): boolean {
  const { granuleBytes } = core.parts;
  const start = repair.granule * granuleBytes;
  const from = Math.max(repair.failure.offset, repair.offset) - start;
  const to = Math.min(repair.failure.offset + repair.failure.length, repair.offset + repair.length) - start;
  const failed = sectorMask(from, to);
  const lost = state.unreadable | state.gone;
  if (repair.reason === 'lost') return (failed & lost) !== 0;
  if (repair.reason === 'slot-part') return (failed & state.held) !== 0;
  if (repair.reason === 'spare-failed') return state.slot === repair.seen.slot && (failed & state.held) !== 0;
  return (failed & ~(state.held | lost)) !== 0;
}

function placeOf(core: RemapCore, { reason, seen }: WriteRepair): DevicePlace {
  return reason === 'main-failed' || reason === 'lost' ? 'main' : core.spares.placeOf(seen.slot);
}

/** The write is sent again when the device answers. */
function pathFailure(repair: WriteRepair, waitsFor: DevicePlace, errno: number = Errno.EIO): RangeFailure {
  return { offset: repair.offset, length: repair.length, kind: 'path', errno, waitsFor };
}

async function repairLocked(
  core: RemapCore,
  repair: WriteRepair,
  state: GranuleState,
  source: Uint8Array,
  flags: number,
  memory: Uint8Array,
  mainFirst: boolean,
): Promise<RepairOutcome> {
  const { bytes, buffer } = relocationBuffers(memory, core.parts.granuleBytes);
  const from = repair.offset - repair.granule * core.parts.granuleBytes;
  const given = sectorMask(from, from + repair.length);
  const mask = repair.lostOnly === true ? (given & (state.unreadable | state.gone)) >>> 0 : given;
  bytes.set(source, from);
  if (mainFirst) {
    // What the slot holds of this write has to be there already. A salvage may have moved what was lost when it was sent.
    const isThere = repair.lostOnly === true || (repair.unwritten & state.held) === 0;
    if (!isThere && repair.reason === 'lost') return 'again';
    // A part for the slot that waits for this lock goes with the rest: sent again, both would meet here again.
    const home = isThere
      ? await writeHome(core, state, (mask & ~state.held) >>> 0, bytes, buffer, repair, flags)
      : 'relocate';
    if (home !== 'relocate') return home;
  }
  let slotIsBad = repair.reason === 'spare-failed';
  if (repair.reason === 'slot-part' && (mask & (state.unreadable | state.gone)) === 0) {
    // Only what the slot holds is written here: main may have got back what was lost when the write was sent.
    if ((repair.unwritten & ~state.held) !== 0) return 'again';
    const outcome = await writeSlotPart(core, state, (mask & state.held) >>> 0, bytes, buffer, flags);
    if (outcome === 'done') return outcome;
    if (outcome !== 'bad-slot') return { ...outcome, offset: repair.offset, length: repair.length };
    slotIsBad = true;
  }
  const cause = slotIsBad ? StateCause.spareError : StateCause.writeError;
  const failure = await relocate(core, state, { granuleBytes: bytes, mask }, cause, buffer, {
    keepReserve: false,
    unverified: repair.unverified,
    oldSlotIsBad: slotIsBad,
  });
  return failure === undefined ? 'done' : refusal(core, repair, failure);
}

/**
 * R23: main first, durably, then read back. Good: the marks go, and their going is durable before the write is
 * acknowledged, else a crash would bring them back over acknowledged bytes.
 */
async function writeHome(
  core: RemapCore,
  state: GranuleState,
  mask: number,
  bytes: Uint8Array,
  buffer: Uint8Array,
  repair: WriteRepair,
  flags: number,
): Promise<RepairOutcome | 'relocate'> {
  const start = repair.granule * core.parts.granuleBytes;
  const alone = apart(repair.granule);
  try {
    for (const { from, to } of runsOf(mask)) {
      await core.writeMain(bytes.subarray(from, to), start + from, flags | IoFlags.fua | alone);
      const readBack = buffer.subarray(from, to);
      await core.parts.main.read(readBack, start + from, alone);
      if (readBack.some((byte, index) => byte !== bytes[from + index])) {
        core.counters.verifyMismatches += 1;
        return 'relocate';
      }
    }
  } catch (error) {
    const failed = asDeviceError(error).ranges[0];
    core.counters.mainWriteErrors += 1;
    if (failed?.kind === 'medium') {
      core.paths.storm.noteFailed(repair.granule);
      return core.paths.storm.raging ? pathFailure(repair, 'main', failed.errno) : 'relocate';
    }
    if (failed?.kind === 'path' && !(error instanceof FlushBehindError)) {
      return pathFailure(repair, 'main', failed.errno);
    }
    return {
      offset: repair.offset,
      length: repair.length,
      kind: failed?.kind ?? 'path',
      errno: failed?.errno ?? Errno.EIO,
    };
  }
  const marked = ((state.unreadable | state.gone) & mask) !== 0;
  const failure = marked ? await clearMarks(core, repair, state, mask) : undefined;
  if (failure !== undefined) return failure;
  core.counters.rewritesInPlace += 1;
  return 'done';
}

async function clearMarks(
  core: RemapCore,
  repair: WriteRepair,
  state: GranuleState,
  mask: number,
): Promise<FailedRange | undefined> {
  const cleared: GranuleState = {
    ...state,
    unreadable: (state.unreadable & ~mask) >>> 0,
    gone: (state.gone & ~mask) >>> 0,
  };
  try {
    await core.commitMarks([recordOf(cleared)]);
    return undefined;
  } catch (error) {
    return refusal(
      core,
      repair,
      commitErrorCode(error) === 'METADATA_FAILED' ? 'metadata-failed' : 'not-committed',
    );
  }
}

function refusal(
  core: RemapCore,
  repair: WriteRepair,
  why: RelocationFailure | 'not-committed',
): RangeFailure {
  if (why === 'spare-path') return pathFailure(repair, core.spareToWaitFor);
  // The caller sees main's own error when there was one: `status` says why nothing could be done about it.
  const kind = why === 'spare-full' || why === 'spare-bad' ? 'medium' : 'path';
  return { offset: repair.offset, length: repair.length, kind, errno: Errno.EIO };
}
