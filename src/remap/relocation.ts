import { asDeviceError } from '../block/device-error.ts';
import { noSlot, type StateCause, StateFlags } from '../metadata/mapping-state.ts';
import type { GranuleState } from './granule-table.ts';
import { commitErrorCode, type RemapCore } from './remap-core.ts';
import { runsOf } from './sector-mask.ts';

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
 * - `spare-path`       the spare does not answer
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
}

type Attempt = 'moved' | 'try-another-slot' | RelocationFailure;

/**
 * Memory for one move, one piece of the arena: two pieces taken one after the other could be what two moves have of each
 * other's. Taken before the lock, never under it (I14).
 */
export function relocationBufferBytes(granuleBytes: number): number {
  return 3 * granuleBytes;
}

/** The parts of a move's memory: the new bytes of the granule; the slot's bytes, and behind them the same read back. */
export function relocationBuffers(
  memory: Uint8Array,
  granuleBytes: number,
): { bytes: Uint8Array; buffer: Uint8Array } {
  return { bytes: memory.subarray(2 * granuleBytes), buffer: memory.subarray(0, 2 * granuleBytes) };
}

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
  const { granuleBytes, allocator } = core.parts;
  const content = buffer.subarray(0, granuleBytes);
  const readBack = buffer.subarray(granuleBytes, 2 * granuleBytes);
  const kept = await gather(core, state, bytes, content);
  if (kept.held === 0) return forget(core, state, kept, options.oldSlotIsBad);
  const flags = options.unverified ? StateFlags.unverified : StateFlags.none;
  for (let attempt = 0; attempt < allocationsMax; attempt += 1) {
    const run = allocator.allocate(1, options.keepReserve);
    if (run === undefined) return 'spare-full';
    const target: GranuleState = { ...kept, slot: run.slot, cause, flags };
    const outcome = await trySlot(core, state, target, content, readBack);
    if (outcome === 'try-another-slot') continue;
    if (outcome !== 'moved') return outcome;
    leaveSlot(core, state, options.oldSlotIsBad);
    return undefined;
  }
  return 'spare-bad';
}

/** The record that freed the old slot is durable and its lock has drained every earlier request on it (R26). */
export function leaveSlot(core: RemapCore, before: GranuleState, slotIsBad: boolean): void {
  if (before.slot === noSlot) return;
  if (slotIsBad) core.retireSlot(before.slot);
  else core.parts.allocator.free(before.slot);
}

/** Nothing is left to hold: the granule keeps its marks and gives up its slot. */
async function forget(
  core: RemapCore,
  before: GranuleState,
  kept: GranuleState,
  slotIsBad: boolean,
): Promise<RelocationFailure | undefined> {
  try {
    await core.commit([core.recordOf({ ...kept, slot: noSlot })]);
  } catch (error) {
    commitErrorCode(error);
    return 'metadata-failed';
  }
  leaveSlot(core, before, slotIsBad);
  return undefined;
}

/** Collects what the new slot will hold; sectors that the old slot no longer gives become gone (R5). */
async function gather(
  core: RemapCore,
  state: GranuleState,
  bytes: NewBytes,
  content: Uint8Array,
): Promise<GranuleState> {
  // Sectors that nobody holds are zero on the spare: no bytes of an earlier request bleed into it.
  content.fill(0);
  const wanted = (state.held & ~bytes.mask) >>> 0;
  const saved = wanted === 0 ? 0 : await readSlot(core, state.slot, wanted, content);
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

/** Reads the sectors of `mask` of a slot into `content`, first together, then one by one; returns those that came. */
export async function readSlot(
  core: RemapCore,
  slot: number,
  mask: number,
  content: Uint8Array,
): Promise<number> {
  const { spare, granuleBytes } = core.parts;
  try {
    await spare.read(content, slot * granuleBytes);
    return mask;
  } catch (error) {
    asDeviceError(error);
    core.counters.spareErrors += 1;
  }
  const step = spare.geometry.logicalBlockBytes;
  let saved = 0;
  for (let from = 0; from < granuleBytes; from += step) {
    const sectors = blockMask(from, step) & mask;
    if (sectors === 0) continue;
    try {
      await spare.read(content.subarray(from, from + step), slot * granuleBytes + from);
      saved |= sectors;
    } catch (error) {
      asDeviceError(error);
      content.fill(0, from, from + step);
    }
  }
  return saved >>> 0;
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
): Promise<Attempt> {
  const dataEpoch = core.parts.metadata.flushEpoch;
  const stored = await storeInSlot(core, target.slot, content, readBack);
  if (stored !== 'moved') return stored;
  try {
    await core.commit([core.recordOf(target)], dataEpoch);
  } catch (error) {
    // Not stored for certain: the slot was flushed, but its data is in doubt together with the record (R7).
    if (commitErrorCode(error) === 'METADATA_FAILED') return 'metadata-failed';
    core.parts.allocator.free(target.slot);
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
  const written = await onSlot(core, slot, true, () => core.writeSpare(content, offset, 0));
  if (written !== 'moved') return written;
  // A failed flush says nothing about this slot, but its bytes are in doubt: they go to a fresh one (R7).
  const flushed = await onSlot(core, slot, false, () => core.spareFlush.flush());
  if (flushed !== 'moved' || !core.parts.verifySlots) return flushed;
  const read = await onSlot(core, slot, true, () => core.parts.spare.read(readBack, offset));
  if (read !== 'moved') return read;
  core.trouble.sparePathFailed = false;
  if (sameBytes(content, readBack)) return 'moved';
  core.counters.verifyMismatches += 1;
  core.retireSlot(slot);
  return 'try-another-slot';
}

/** Runs one step of storing; a failed one gives the slot back, or retires it when the step was about the slot itself. */
async function onSlot(
  core: RemapCore,
  slot: number,
  aboutSlot: boolean,
  step: () => Promise<void>,
): Promise<Attempt> {
  try {
    await step();
    return 'moved';
  } catch (error) {
    const { kind } = asDeviceError(error);
    core.counters.spareErrors += 1;
    const slotIsBad = kind === 'medium' || kind === 'suspect' || kind === 'timed-out';
    if (slotIsBad && aboutSlot) core.retireSlot(slot);
    else core.parts.allocator.free(slot);
    if (slotIsBad || kind === 'transient') return 'try-another-slot';
    core.trouble.sparePathFailed = true;
    return 'spare-path';
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  for (let index = 0; index < a.length; index += 1) if (a[index] !== b[index]) return false;
  return true;
}
