import { apart } from '../../block/block-device.ts';
import { asDeviceError, DeviceError, type FailedRange, failedWithin } from '../../block/device-error.ts';
import { Errno } from '../../block/errno.ts';
import { FlushBehindError } from '../order/write-through.ts';
import type { RemapCore } from '../remap-core.ts';
import type { Piece } from '../request/request-plan.ts';
import type { ByteRange, RangeFailure } from '../request/request-rounds.ts';
import type { GranuleState } from '../table/granule-table.ts';
import { runsOf, sectorMask } from '../table/sector-mask.ts';
import { readSlot } from './relocation.ts';
import { tryOften, tryOnce } from './try-often.ts';

/**
 * Parts of a slot on a spare whose logical block is larger than main's (R9): the spare takes and gives whole blocks only.
 * A slot is whole blocks, so no block belongs to two granules.
 */

/** True for a piece that begins or ends inside a block of the spare. */
export function cutsSpareBlock(core: RemapCore, piece: Piece): boolean {
  if (piece.place !== 'spare') return false;
  const block = core.spares.at(piece.deviceOffset).device.geometry.logicalBlockBytes;
  return piece.deviceOffset % block !== 0 || piece.length % block !== 0;
}

/**
 * Reads from slots; blocks that are asked for in part are read whole, into memory of the metadata's: whoever has that waits
 * for nothing but a disk, so a request under way may wait for it (I14). All parts are read, whatever the first one says:
 * what a failure does not name counts as read.
 */
export async function readSlotPart(
  core: RemapCore,
  target: Uint8Array,
  offset: number,
  flags: number,
): Promise<void> {
  const spare = core.spares.at(offset).device;
  const block = spare.geometry.logicalBlockBytes;
  const end = offset + target.length;
  const failed: FailedRange[] = [];
  for (let at = offset; at < end; ) {
    const blockStart = at - (at % block);
    const wholeEnd = end - (end % block);
    const to = at === blockStart && wholeEnd > at ? wholeEnd : Math.min(end, blockStart + block);
    const part = target.subarray(at - offset, to - offset);
    try {
      if (to === wholeEnd && at === blockStart) await spare.read(part, at, flags);
      else await readInsideBlock(core, part, at, flags);
    } catch (error) {
      for (const range of failedWithin(asDeviceError(error), at, part.length)) failed.push(range);
    }
    at = to;
  }
  if (failed.length > 0) throw new DeviceError(spare.name, failed);
}

async function readInsideBlock(
  core: RemapCore,
  target: Uint8Array,
  offset: number,
  flags: number,
): Promise<void> {
  const { arena } = core.parts;
  const spare = core.spares.at(offset).device;
  const inBlock = offset % spare.geometry.logicalBlockBytes;
  const memory = await arena.whenFree(spare.geometry.logicalBlockBytes, 'metadata');
  try {
    await spare.read(memory, offset - inBlock, flags);
    target.set(memory.subarray(inBlock, inBlock + target.length));
  } finally {
    arena.release(memory);
  }
}

/**
 * - `done`      the sectors are in the slot
 * - `bad-slot`  the slot has a medium error: what it held has to move
 */
export type SlotPartOutcome = 'done' | 'bad-slot' | RangeFailure;

/**
 * Writes the sectors of `mask`, all held by the slot, into their blocks: read, change, write. The caller holds the granule's
 * lock; `bytes` is the granule with the new sectors, `buffer` two granules of memory. A logical block is written whole or
 * not at all, so the neighbours in it are safe over a power cut.
 */
export async function writeSlotPart(
  core: RemapCore,
  state: GranuleState,
  mask: number,
  bytes: Uint8Array,
  buffer: Uint8Array,
  flags: number,
): Promise<SlotPartOutcome> {
  const { granuleBytes } = core.parts;
  const content = buffer.subarray(0, granuleBytes);
  const probeMemory = buffer.subarray(granuleBytes, 2 * granuleBytes);
  const unit = core.spares.ofSlot(state.slot);
  const blocks = blocksAround(mask, unit.device.geometry.logicalBlockBytes);
  const siblings = (blocks & state.held & ~mask) >>> 0;
  content.fill(0);
  if (siblings !== 0) {
    const old = await readSlot(core, state.slot, siblings, content, probeMemory);
    if (old.failure !== undefined) return failureOf(core, state, old.failure);
    if (old.saved !== siblings) return 'bad-slot';
  }
  for (const { from, to } of runsOf(mask)) content.set(bytes.subarray(from, to), from);
  try {
    for (const { from, to } of runsOf(blocks)) {
      const offset = state.slot * granuleBytes + from;
      await core.writeSpare(content.subarray(from, to), offset, flags | apart(state.slot));
    }
  } catch (error) {
    core.counters.spareErrors += 1;
    if (error instanceof FlushBehindError) return flushFailure(core, state, error.errno);
    const { kind, errno } = asDeviceError(error);
    if (kind === 'medium') return 'bad-slot';
    if (kind === 'suspect' && (await unit.probe.worksUnderLock(probeMemory))) return 'bad-slot';
    return failureOf(core, state, { offset: 0, length: 0, kind, errno });
  }
  return core.verifiesEachWrite ? await checkSlotPart(core, state, blocks, content, probeMemory) : 'done';
}

/** R24, policy `verify=always`: flushed, read back and compared before the write is acknowledged. */
async function checkSlotPart(
  core: RemapCore,
  state: GranuleState,
  blocks: number,
  content: Uint8Array,
  readBack: Uint8Array,
): Promise<SlotPartOutcome> {
  const unit = core.spares.ofSlot(state.slot);
  const flushed = await tryOnce(() => unit.flush.flush());
  if (flushed !== undefined) return flushFailure(core, state, flushed.errno);
  const runs = runsOf(blocks);
  for (const { from, to } of runs) {
    const offset = state.slot * core.parts.granuleBytes + from;
    const target = readBack.subarray(from, to);
    const failure = await tryOften(() => unit.device.read(target, offset, apart(state.slot)));
    if (failure?.kind === 'medium') return 'bad-slot';
    if (failure?.kind === 'suspect' && (await unit.probe.worksUnderLock(readBack))) return 'bad-slot';
    if (failure !== undefined) return failureOf(core, state, failure);
    if (target.every((byte, index) => byte === content[from + index])) continue;
    core.counters.verifyMismatches += 1;
    return 'bad-slot';
  }
  return 'done';
}

/** The failure in the granule's bytes on the virtual device; EIO of a spare that does not answer is the path's. */
function failureOf(core: RemapCore, state: GranuleState, failure: FailedRange): RangeFailure {
  const kind = failure.kind === 'suspect' ? 'path' : failure.kind;
  const range = { ...granuleRange(core, state), kind, errno: failure.errno || Errno.EIO };
  if (kind !== 'path') return range;
  const { place } = core.spares.ofSlot(state.slot);
  core.notePathFailed(place);
  return { ...range, waitsFor: place };
}

/** A flush is never retried into success (R7). */
function flushFailure(core: RemapCore, state: GranuleState, errno: number): RangeFailure {
  return { ...granuleRange(core, state), kind: 'path', errno };
}

function granuleRange(core: RemapCore, { granule }: GranuleState): ByteRange {
  return { offset: granule * core.parts.granuleBytes, length: core.bytesOfGranule(granule) };
}

/** The sectors of all blocks that `mask` touches. */
function blocksAround(mask: number, blockBytes: number): number {
  let blocks = 0;
  for (const { from, to } of runsOf(mask)) {
    const start = Math.floor(from / blockBytes) * blockBytes;
    blocks |= sectorMask(start, Math.ceil(to / blockBytes) * blockBytes);
  }
  return blocks >>> 0;
}
