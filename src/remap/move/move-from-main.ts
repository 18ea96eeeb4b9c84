import { asDeviceError } from '../../block/device-error.ts';
import type { StateCause } from '../../metadata/mapping-state.ts';
import type { RemapCore } from '../remap-core.ts';
import { runsOf, sectorMask } from '../table/sector-mask.ts';
import { relocationBufferBytes, relocationBuffers } from './move-memory.ts';
import { type RelocationFailure, relocate } from './relocation.ts';

/**
 * What became of a granule that was to leave a main which can still read it.
 *
 * - `moved`       it is on the spare
 * - `nothing`     nothing of it was on main any more
 * - `unreadable`  main did not give it: there is nothing to move; `offset` is where, a byte of main
 */
export type MoveOutcome =
  | { readonly outcome: 'moved' | 'nothing' }
  | { readonly outcome: 'unreadable'; readonly offset: number }
  | { readonly outcome: RelocationFailure };

/** Moves what main has of a granule to the spare before it fails. The reserve is not for this (R31). */
export async function moveFromMain(
  core: RemapCore,
  granule: number,
  cause: StateCause,
  unverified: boolean,
): Promise<MoveOutcome> {
  const { arena, granuleBytes } = core.parts;
  const memory = await arena.whenFree(relocationBufferBytes(granuleBytes), 'remap');
  const { bytes, buffer } = relocationBuffers(memory, granuleBytes);
  const lock = await core.locks.acquire(granule, granule);
  try {
    const state = core.stateOf(granule);
    const all = sectorMask(0, core.bytesOfGranule(granule));
    const onMain = (all & ~(state.held | state.unreadable | state.gone)) >>> 0;
    if (onMain === 0) return { outcome: 'nothing' };
    const failedAt = await readFromMain(core, granule, onMain, bytes);
    if (failedAt !== undefined) return { outcome: 'unreadable', offset: failedAt };
    const options = { keepReserve: true, unverified, oldSlotIsBad: false };
    const failure = await relocate(
      core,
      state,
      { granuleBytes: bytes, mask: onMain },
      cause,
      buffer,
      options,
    );
    return { outcome: failure ?? 'moved' };
  } finally {
    core.locks.release(lock);
    arena.release(memory);
  }
}

/** Where main failed, if it did. */
async function readFromMain(
  core: RemapCore,
  granule: number,
  mask: number,
  bytes: Uint8Array,
): Promise<number | undefined> {
  const start = granule * core.parts.granuleBytes;
  try {
    for (const { from, to } of runsOf(mask))
      await core.parts.main.read(bytes.subarray(from, to), start + from);
  } catch (error) {
    return asDeviceError(error).ranges[0]?.offset ?? start;
  }
  return undefined;
}
