import { apart } from '../../block/block-device.ts';
import type { FailedRange } from '../../block/device-error.ts';
import { Errno, type FailureKind, isGone } from '../../block/errno.ts';
import { StateCause } from '../../metadata/mapping-state.ts';
import { relocationBufferBytes, relocationBuffers } from '../move/move-memory.ts';
import { readSlot, relocate } from '../move/relocation.ts';
import { writeSlotPart } from '../move/slot-part.ts';
import { tryOften } from '../move/try-often.ts';
import { FlushBehindError } from '../order/write-through.ts';
import type { DevicePlace } from '../path/device-paths.ts';
import type { RemapCore } from '../remap-core.ts';
import { freshZeros } from '../table/fresh-map.ts';
import type { GranuleState } from '../table/granule-table.ts';
import { sectorMask } from '../table/sector-mask.ts';
import type { RangeFailure } from './request-rounds.ts';

/** Outages that one write may sit out. */
const attemptsMax = 4;

/** Where the new bytes of a block go, and the state they are written under. */
interface BlockPlace {
  readonly state: GranuleState;
  /** The block's sectors. */
  readonly mask: number;
  /** Bytes from the granule's start. */
  readonly from: number;
  readonly to: number;
}

/**
 * Writes a part of one logical block of main: reads the block, changes it and writes it, under its granule's lock, so that no
 * other client's part of it is lost (R11). What cannot be read or is lost fails the write, and nothing is changed: a lost
 * sector is never made up from a part. Undefined when the bytes are stored.
 */
export async function writePartOfBlock(
  core: RemapCore,
  source: Uint8Array,
  offset: number,
  flags: number,
): Promise<FailedRange | undefined> {
  for (let attempt = 1; ; attempt += 1) {
    const failed = await writeOnce(core, source, offset, flags);
    const place = failed?.waitsFor;
    if (failed === undefined || place === undefined || attempt === attemptsMax) return failed;
    if (isGone(failed.errno)) core.paths.noteGone(place);
    else await core.paths.judge(place, 'write');
    // Held like any other write while its device is away (R17); nothing of ours is held meanwhile.
    if (!(await core.paths.of(place, 'write').whenWorking())) return failed;
  }
}

async function writeOnce(
  core: RemapCore,
  source: Uint8Array,
  offset: number,
  flags: number,
): Promise<RangeFailure | undefined> {
  const { arena, granuleBytes, main } = core.parts;
  const granule = Math.floor(offset / granuleBytes);
  const block = main.geometry.logicalBlockBytes;
  const inGranule = offset - granule * granuleBytes;
  const from = inGranule - (inGranule % block);
  // Memory before the lock: whoever holds a lock needs nothing that another lock's holder could have (I14).
  const memory = await arena.whenFree(relocationBufferBytes(granuleBytes), 'remap');
  const lock = await core.locks.acquire(granule, granule);
  try {
    // M1: a record of this granule may be in doubt.
    if (core.metadataPath.failed) return { offset, length: source.length, kind: 'path', errno: Errno.EIO };
    const state = core.stateOf(granule);
    const place = { state, mask: sectorMask(from, from + block), from, to: from + block };
    const { bytes, buffer } = relocationBuffers(memory, granuleBytes);
    const unreadable = await readBlock(core, place, bytes, buffer);
    if (unreadable !== undefined) return { ...unreadable, offset, length: source.length };
    bytes.set(source, inGranule);
    const failed = await writeBlock(core, place, bytes, buffer, flags);
    return failed === undefined ? undefined : { ...failed, offset, length: source.length };
  } finally {
    core.locks.release(lock);
    arena.release(memory);
  }
}

type Failure = Pick<RangeFailure, 'kind' | 'errno' | 'waitsFor'>;

/** Reads the block into `bytes`, each sector from where it lives. Nothing is repaired: the lock is held. */
async function readBlock(
  core: RemapCore,
  { state, mask, from, to }: BlockPlace,
  bytes: Uint8Array,
  buffer: Uint8Array,
): Promise<Failure | undefined> {
  const { main, granuleBytes } = core.parts;
  const zeros = (mask & freshZeros(state)) >>> 0;
  if ((mask & (state.unreadable | state.gone) & ~zeros) !== 0) return { kind: 'lost', errno: Errno.EIO };
  const part = bytes.subarray(from, to);
  if (zeros !== 0) {
    // Marks and slots of main's blocks are whole blocks.
    part.fill(0);
    return undefined;
  }
  if ((mask & state.held) !== 0) {
    const content = buffer.subarray(0, granuleBytes);
    const { saved, failure } = await readSlot(core, state.slot, mask, content, buffer.subarray(granuleBytes));
    if (failure !== undefined) return ofPlace(core.spares.ofSlot(state.slot).place, failure);
    if ((mask & ~saved) !== 0) return { kind: 'medium', errno: Errno.EIO };
    part.set(content.subarray(from, to));
    return undefined;
  }
  const offset = state.granule * granuleBytes + from;
  const failure = await tryOften(() => main.read(part, offset, apart(state.granule)));
  return failure === undefined ? undefined : ofPlace('main', failure);
}

/** What is not about the sector, or may not be, waits for its device (R17). */
function ofPlace(place: DevicePlace, failure: FailedRange): Failure {
  const { kind, errno } = failure;
  return kind === 'path' || kind === 'suspect' ? { kind: 'path', errno, waitsFor: place } : { kind, errno };
}

async function writeBlock(
  core: RemapCore,
  place: BlockPlace,
  bytes: Uint8Array,
  buffer: Uint8Array,
  flags: number,
): Promise<Failure | undefined> {
  const { state, mask } = place;
  let slotIsBad = false;
  if ((mask & state.held) !== 0) {
    const outcome = await writeSlotPart(core, state, mask, bytes, buffer, flags);
    if (outcome === 'done') return undefined;
    if (outcome !== 'bad-slot') return outcome;
    slotIsBad = true;
  } else if ((mask & state.unreadable) === 0) {
    const failure = await writeToMain(core, place, bytes, flags);
    if (failure === undefined) return undefined;
    // Never tried again into success (R7).
    if (failure === 'flush-failed') return { kind: 'path', errno: Errno.EIO };
    if (!(await isAboutSector(core, state.granule, failure.kind, buffer))) return ofPlace('main', failure);
  }
  const cause = slotIsBad ? StateCause.spareError : StateCause.writeError;
  const options = { keepReserve: false, unverified: false, oldSlotIsBad: slotIsBad };
  const why = await relocate(core, state, { granuleBytes: bytes, mask }, cause, buffer, options);
  if (why === undefined) return undefined;
  if (why === 'spare-path') return { kind: 'path', errno: Errno.EIO, waitsFor: core.spareToWaitFor };
  return { kind: why === 'metadata-failed' ? 'path' : 'medium', errno: Errno.EIO };
}

async function writeToMain(
  core: RemapCore,
  { state, from, to }: BlockPlace,
  bytes: Uint8Array,
  flags: number,
): Promise<FailedRange | 'flush-failed' | undefined> {
  const offset = state.granule * core.parts.granuleBytes + from;
  const source = bytes.subarray(from, to);
  let flushFailed = false;
  const failure = await tryOften(async () => {
    try {
      await core.writeMain(source, offset, flags | apart(state.granule));
    } catch (error) {
      flushFailed = error instanceof FlushBehindError;
      throw error;
    }
  });
  if (failure !== undefined) core.counters.mainWriteErrors += 1;
  return flushFailed ? 'flush-failed' : failure;
}

/**
 * A round of probing takes locks, so under ours only reading can be asked for. A path on which only writes fail costs slots
 * here, and no bytes: whatever moves is stored and recorded before its acknowledgement.
 */
async function isAboutSector(
  core: RemapCore,
  granule: number,
  kind: FailureKind,
  buffer: Uint8Array,
): Promise<boolean> {
  if (kind !== 'medium' && kind !== 'suspect') return false;
  core.paths.storm.noteFailed(granule);
  if (core.paths.storm.raging || core.paths.mainWrites.failed) return false;
  if (kind === 'medium') return true;
  const works = await core.probe.worksUnderLock(buffer.subarray(0, core.parts.granuleBytes));
  if (!works) core.notePathFailed('main');
  return works;
}
