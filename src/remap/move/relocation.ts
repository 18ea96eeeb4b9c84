import { apart } from '../../block/block-device.ts';
import { asDeviceError, type FailedRange } from '../../block/device-error.ts';
import { isGone } from '../../block/errno.ts';
import { noSlot, StateCause, StateFlags } from '../../metadata/mapping-state.ts';
import { commitErrorCode, type RemapCore } from '../remap-core.ts';
import { transientRetriesMax } from '../request/request-rounds.ts';
import type { SpareUnit } from '../spare/spare-unit.ts';
import type { GranuleState } from '../table/granule-table.ts';
import { recordOf } from '../table/live-table.ts';
import { runsOf } from '../table/sector-mask.ts';
import { tryOnce } from './try-often.ts';
import { UnprovedSlots } from './unproved-slots.ts';

/** Slots one move may try before it gives up (R5). */
export const allocationsMax = 4;

/** New bytes for some sectors of a granule. */
export interface NewBytes {
  /** The bytes of the whole granule; only the sectors of `mask` are looked at. */
  readonly granuleBytes: Uint8Array;
  readonly mask: number;
}

/**
 * Why a move could not be made: the granule is as it was.
 *
 * - `spare-full`       no slot is free
 * - `spare-path`       the spare does not answer, or does not write
 * - `spare-bad`        every slot tried was bad
 * - `metadata-failed`  the record cannot be stored
 */
export type RelocationFailure = 'spare-full' | 'spare-path' | 'spare-bad' | 'metadata-failed';

export interface RelocationOptions {
  /** Leave the last slots to client writes (R31). */
  readonly keepReserve: boolean;
  /** Nobody has shown that main is bad there (R19). */
  readonly unverified: boolean;
  /** The slot that the granule has now proved bad and is never used again; else it becomes free. */
  readonly oldSlotIsBad: boolean;
  /** When main failed the block, in seconds since 1970, for a move that says nothing new of main. Default: now. */
  readonly sinceUnixSeconds?: number;
}

/**
 * `unproved`: it cannot be filled, which may be the spare's fault; neither free nor retired yet. `spare-away`: the spare that it
 * is on has gone, another one may take the block.
 */
type Attempt = 'moved' | 'try-another-slot' | 'unproved' | 'spare-away' | RelocationFailure;

/**
 * Moves one granule, or what is held of it, to a fresh slot. The caller holds the granule's lock and has made sure that
 * no I/O is under way. The order is the promise (I12):
 *
 *     data to the slot < flush < read back < record on all replicas < flush < live
 */
export async function relocate(
  core: RemapCore,
  state: GranuleState,
  bytes: NewBytes,
  cause: StateCause,
  buffer: Uint8Array,
  options: RelocationOptions,
): Promise<RelocationFailure | undefined> {
  // Nothing could record it; and when somebody else has the spare, no slot is free for us to write to (M11).
  if (core.metadataPath.failed) return 'metadata-failed';
  const { granuleBytes } = core.parts;
  const content = buffer.subarray(0, granuleBytes);
  const readBack = buffer.subarray(granuleBytes, 2 * granuleBytes);
  const kept = await gather(core, state, bytes, content, readBack);
  if (kept === undefined) return 'spare-path';
  if (kept.held === 0) return forget(core, state, kept, options.oldSlotIsBad);
  const flags = flagsOf(state, kept, options);
  const unproved = new UnprovedSlots(core);
  let failure: RelocationFailure = 'spare-bad';
  for (let attempt = 0; attempt < allocationsMax; attempt += 1) {
    const run = core.slots.allocate(1, options.keepReserve);
    if (run === undefined) {
      failure = 'spare-full';
      // Those that are free are on spares that may come back.
      if (core.slots.onlyAway) failure = 'spare-path';
      break;
    }
    const target: GranuleState = {
      ...kept,
      slot: run.slot,
      cause: causeOf(state, cause, options),
      flags,
      unixSeconds: options.sinceUnixSeconds ?? kept.unixSeconds,
    };
    const outcome = await trySlot(core, state, target, content, readBack, unproved);
    if (outcome === 'unproved') unproved.add(run.slot);
    else if (outcome === 'moved') {
      leaveSlot(core, state, options.oldSlotIsBad);
      return undefined;
    } else if (outcome === 'spare-away') failure = 'spare-path';
    else if (outcome !== 'try-another-slot') {
      unproved.free();
      return outcome;
    }
  }
  const { places } = unproved;
  if (!unproved.isSparesFault()) return failure;
  for (const place of places) core.paths.noteFailed(place, 'write');
  return 'spare-path';
}

/** What stays a guess in the new place, and what becomes one. */
function flagsOf(state: GranuleState, kept: GranuleState, options: RelocationOptions): number {
  // Marks that stay behind are still guesses of whoever imported them (R34), or of sectors that were never written (R13).
  const ofMarks = kept.unreadable === 0 ? StateFlags.none : StateFlags.suspect | StateFlags.freshZero;
  // A slot that fails proves nothing of main: `verify` is still to take home what was moved on a guess (R19).
  const ofMain = options.oldSlotIsBad ? StateFlags.unverified : StateFlags.none;
  return (state.flags & (ofMarks | ofMain)) | (options.unverified ? StateFlags.unverified : StateFlags.none);
}

/** What the operator moved is his wherever on the spare it lies: else `verify` would take it home behind his back. */
function causeOf(state: GranuleState, cause: StateCause, options: RelocationOptions): StateCause {
  return options.oldSlotIsBad && state.cause === StateCause.operator ? StateCause.operator : cause;
}

/** The record that freed the old slot is durable and its lock has drained every earlier request on it (R26). */
export function leaveSlot(core: RemapCore, before: GranuleState, slotIsBad: boolean): void {
  if (before.slot === noSlot) return;
  if (slotIsBad) core.retireSlot(before.slot);
  else core.slots.free(before.slot);
}

/** Nothing is left to hold: the granule keeps its marks and gives up its slot, unless its record needs that slot's room. */
async function forget(
  core: RemapCore,
  before: GranuleState,
  kept: GranuleState,
  slotIsBad: boolean,
): Promise<RelocationFailure | undefined> {
  const leaves = core.roomWithoutSlot(kept);
  try {
    await core.commitMarks([recordOf(leaves ? { ...kept, slot: noSlot } : kept)]);
  } catch (error) {
    commitErrorCode(error);
    return 'metadata-failed';
  }
  if (leaves) leaveSlot(core, before, slotIsBad);
  return undefined;
}

/**
 * Collects what the new slot will hold; sectors that the old slot no longer gives become gone (R5). Undefined when the
 * spare does not answer: nothing is then known about them.
 */
async function gather(
  core: RemapCore,
  state: GranuleState,
  bytes: NewBytes,
  content: Uint8Array,
  probeMemory: Uint8Array,
): Promise<GranuleState | undefined> {
  // Sectors that nobody holds are zero on the spare: no bytes of an earlier request bleed into it.
  content.fill(0);
  const wanted = (state.held & ~bytes.mask) >>> 0;
  const old = wanted === 0 ? nothingThere : await readSlot(core, state.slot, wanted, content, probeMemory);
  if (old.failure !== undefined) return undefined;
  const { saved } = old;
  for (const { from, to } of runsOf(bytes.mask)) content.set(bytes.granuleBytes.subarray(from, to), from);
  return {
    granule: state.granule,
    slot: state.slot,
    held: (bytes.mask | saved) >>> 0,
    unreadable: (state.unreadable & ~bytes.mask) >>> 0,
    gone: ((state.gone & ~bytes.mask) | (wanted & ~saved)) >>> 0,
    flags: state.flags,
    cause: state.cause,
    unixSeconds: Math.floor(core.parts.clock.unixMs() / 1000),
  };
}

/** What a slot still gives. */
export interface SlotContent {
  /** The sectors that came. */
  readonly saved: number;
  /** The spare did not answer: nothing may be concluded about the others. Undefined: the others are bad. */
  readonly failure: FailedRange | undefined;
}

const nothingThere: SlotContent = { saved: 0, failure: undefined };

/**
 * Reads the sectors of `mask` of a slot into `content`, first together, then one by one. Whoever takes a sector for lost
 * gives up acknowledged bytes: so only an error about the sector counts (R5, R15). `probeMemory` is one granule of the
 * caller's memory that nothing else uses meanwhile.
 */
export async function readSlot(
  core: RemapCore,
  slot: number,
  mask: number,
  content: Uint8Array,
  probeMemory: Uint8Array,
): Promise<SlotContent> {
  const { main, granuleBytes } = core.parts;
  const spare = core.spares.ofSlot(slot).device;
  const whole = await readPart(core, slot * granuleBytes, content);
  if (whole === undefined) return { saved: mask, failure: undefined };
  core.counters.spareErrors += 1;
  if (!aboutSector(whole) && whole.kind !== 'transient') return { saved: 0, failure: whole };
  // No smaller than main's block: a part of one can be neither asked for nor written, so it is lost as a whole.
  const step = Math.max(main.geometry.logicalBlockBytes, spare.geometry.logicalBlockBytes);
  let saved = 0;
  for (let from = 0; from < granuleBytes; from += step) {
    const sectors = blockMask(from, step) & mask;
    if (sectors === 0) continue;
    const part = content.subarray(from, from + step);
    const failure = await readSector(core, slot * granuleBytes + from, part, probeMemory);
    if (failure === undefined) {
      saved |= sectors;
      continue;
    }
    if (failure.kind !== 'medium') return { saved: saved >>> 0, failure };
    part.fill(0);
  }
  return { saved: saved >>> 0, failure: undefined };
}

/**
 * Reads one block of a slot. `medium`: it is bad. EIO is that only when the spare works elsewhere and the block then fails
 * once more, so that a path that was away for a moment costs nobody acknowledged bytes (R5, R17).
 */
async function readSector(
  core: RemapCore,
  offset: number,
  target: Uint8Array,
  probeMemory: Uint8Array,
): Promise<FailedRange | undefined> {
  const first = await readPart(core, offset, target);
  if (first?.kind !== 'suspect') return first;
  if (!(await core.spares.at(offset).probe.worksUnderLock(probeMemory))) return first;
  const second = await readPart(core, offset, target);
  return second?.kind === 'suspect' ? { ...second, kind: 'medium' } : second;
}

/** Reads from the spare, again after transient errors (R15). */
async function readPart(
  core: RemapCore,
  offset: number,
  target: Uint8Array,
): Promise<FailedRange | undefined> {
  let failure: FailedRange | undefined;
  for (let attempt = 0; attempt <= transientRetriesMax; attempt += 1) {
    try {
      await core.readSpare(target, offset, apart(Math.floor(offset / core.parts.granuleBytes)));
      return undefined;
    } catch (error) {
      const { kind, errno } = asDeviceError(error);
      failure = { offset, length: target.length, kind, errno };
      if (kind !== 'transient') return failure;
    }
  }
  return failure;
}

function aboutSector(failure: FailedRange): boolean {
  return failure.kind === 'medium' || failure.kind === 'suspect';
}

function blockMask(from: number, blockBytes: number): number {
  const count = blockBytes / 512;
  return count === 32 ? 0xffff_ffff : (((1 << count) - 1) << (from / 512)) >>> 0;
}

async function trySlot(
  core: RemapCore,
  before: GranuleState,
  target: GranuleState,
  content: Uint8Array,
  readBack: Uint8Array,
  unproved: UnprovedSlots,
): Promise<Attempt> {
  const unit = core.spares.ofSlot(target.slot);
  const isHome = unit === core.spares.home;
  const dataEpoch = unit.flushEpoch;
  const stored = await storeInSlot(core, target.slot, content, readBack);
  if (stored !== 'moved') return stored;
  unproved.retire();
  unit.storm.noteWorked();
  if (!isHome && unit.flushEpoch !== dataEpoch) {
    // A flush of others failed in between: what it should have kept is in doubt, whatever a later one says (R7).
    core.slots.free(target.slot);
    return 'try-another-slot';
  }
  // The home's flushes are the store's, which goes on watching them until the record is durable.
  try {
    await core.commit([recordOf(target)], isHome ? dataEpoch : undefined);
  } catch (error) {
    // Not stored for certain: the slot was flushed, but its data is in doubt together with the record (R7).
    if (commitErrorCode(error) === 'METADATA_FAILED') {
      core.doubtSlot(target.slot);
      return 'metadata-failed';
    }
    core.slots.free(target.slot);
    return 'try-another-slot';
  }
  core.counters.remaps += before.slot === noSlot ? 1 : 0;
  return 'moved';
}

async function storeInSlot(
  core: RemapCore,
  slot: number,
  content: Uint8Array,
  readBack: Uint8Array,
): Promise<Attempt> {
  const offset = slot * core.parts.granuleBytes;
  const unit = core.spares.ofSlot(slot);
  const written = await onSlot(core, slot, 'write', readBack, () =>
    core.writeSpare(content, offset, apart(slot)),
  );
  if (written !== 'moved') return written;
  // A failed flush says nothing about this slot, but its bytes are in doubt: they go to a fresh one (R7).
  const flushed = await onSlot(core, slot, 'flush', readBack, () => unit.flush.flush());
  if (flushed !== 'moved') return flushed;
  core.paths.noteWorked(unit.place, 'write');
  if (!core.verifiesSlots) return 'moved';
  const read = await onSlot(core, slot, 'read', readBack, () =>
    core.readSpare(readBack, offset, apart(slot)),
  );
  if (read !== 'moved') return read;
  if (Buffer.compare(content, readBack) === 0) return 'moved';
  core.counters.verifyMismatches += 1;
  return badSlot(core, slot);
}

/** R5: one slot is bad by its own word, many in a row only when another one can be filled. */
function badSlot(core: RemapCore, slot: number): Attempt {
  const { storm } = core.spares.ofSlot(slot);
  if (storm.raging) return 'unproved';
  storm.noteRetired();
  core.retireSlot(slot);
  return 'try-another-slot';
}

/**
 * Runs one step of storing. A failed one gives the slot back, or retires it when the slot itself is bad: EIO says so only
 * on both sides of a good probe, else a spare that is away would use up its own slots (R5, R17). A probe reads; whether the
 * spare can be written, another slot has to tell.
 */
async function onSlot(
  core: RemapCore,
  slot: number,
  name: 'write' | 'flush' | 'read',
  probeMemory: Uint8Array,
  step: () => Promise<void>,
): Promise<Attempt> {
  const unit = core.spares.ofSlot(slot);
  let failure = await tryStep(core, unit, step);
  let works = await spareWorks(unit, failure, probeMemory);
  // A flush is never retried into success (R7).
  if (failure?.kind === 'suspect' && works && name !== 'flush') {
    failure = await tryStep(core, unit, step);
    works = await spareWorks(unit, failure, probeMemory);
  }
  if (failure === undefined) return 'moved';
  const { kind } = failure;
  if (kind === 'suspect' && works && name === 'write') return 'unproved';
  if ((kind === 'medium' || kind === 'suspect') && works && name !== 'flush') return badSlot(core, slot);
  // A request without an answer may still reach the slot: it is never used again (R3).
  const aboutSlot = kind === 'medium' || kind === 'suspect' || kind === 'timed-out';
  if (kind === 'timed-out' && works && name !== 'flush') core.retireSlot(slot);
  else core.slots.free(slot);
  // A late answer may still fill the memory of a read: no second slot is read into it (I27).
  const memoryIsLent = kind === 'timed-out' && name === 'read';
  if (works && !memoryIsLent && (aboutSlot || kind === 'transient')) return 'try-another-slot';
  core.paths.noteFailed(unit.place, 'write');
  return unit === core.spares.home || memoryIsLent ? 'spare-path' : 'spare-away';
}

async function tryStep(
  core: RemapCore,
  unit: SpareUnit,
  step: () => Promise<void>,
): Promise<FailedRange | undefined> {
  const failure = await tryOnce(step);
  if (failure === undefined) return undefined;
  core.counters.spareErrors += 1;
  if (isGone(failure.errno)) core.paths.noteGone(unit.place);
  return failure;
}

/** False when an error that may be the path's came from a spare that does not answer elsewhere either. */
async function spareWorks(
  unit: SpareUnit,
  failure: FailedRange | undefined,
  probeMemory: Uint8Array,
): Promise<boolean> {
  return failure?.kind !== 'suspect' || (await unit.probe.worksUnderLock(probeMemory));
}
