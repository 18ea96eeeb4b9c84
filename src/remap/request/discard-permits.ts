import { Permits } from '../../block/permits.ts';
import type { DevicePlace } from '../path/device-paths.ts';

/**
 * Discards of all clients that one disk has at once: thousands of them over a table of many pieces would take all places in
 * the disk's queue, which refuses what comes then, other requests too.
 */
export const discardsAtOnceMax = 64;

/** By the disk that they go to: one that hangs keeps those of the other one from nothing. */
export type DiscardPermits = Readonly<Record<DevicePlace, Permits>>;

export function newDiscardPermits(): DiscardPermits {
  return { main: new Permits(discardsAtOnceMax), spare: new Permits(discardsAtOnceMax) };
}
