import { Permits } from '../../block/permits.ts';
import type { DevicePlace } from '../path/device-paths.ts';

/**
 * Discards of all clients that one disk has at once: thousands of them over a table of many pieces would take all places in
 * the disk's queue, which refuses what comes then, other requests too.
 */
export const discardsAtOnceMax = 64;

/** By the disk that they go to: one that hangs keeps those of another one from nothing. */
export class DiscardPermits {
  readonly #byPlace = new Map<DevicePlace, Permits>();

  of(place: DevicePlace): Permits {
    const known = this.#byPlace.get(place);
    if (known !== undefined) return known;
    const permits = new Permits(discardsAtOnceMax);
    this.#byPlace.set(place, permits);
    return permits;
  }
}
