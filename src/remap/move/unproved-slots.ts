import type { SparePlace } from '../path/device-paths.ts';
import type { RemapCore } from '../remap-core.ts';

/**
 * Fresh slots that one move could not fill, with EIO although the spare can be read elsewhere, or after many others: a spare
 * that is write-locked or worn out as a whole does the same (R5). The next slots that the move tries are the probe.
 */
export class UnprovedSlots {
  readonly #core: RemapCore;
  #slots: number[] = [];

  constructor(core: RemapCore) {
    this.#core = core;
  }

  /** The next slot will be in another region: what is bad about this one's surroundings is then not in its way. */
  add(slot: number): void {
    this.#slots.push(slot);
    this.#core.slots.leaveRegion();
  }

  /** The spares that they are on. */
  get places(): readonly SparePlace[] {
    return [...new Set(this.#slots.map((slot) => this.#core.spares.ofSlot(slot).place))];
  }

  /** Another slot was written: these are bad. */
  retire(): void {
    for (const slot of this.#slots.splice(0)) this.#core.retireSlot(slot);
  }

  /** Nothing is known about them; the kernel has answered for every write to them. */
  free(): void {
    for (const slot of this.#slots.splice(0)) this.#core.slots.free(slot);
  }

  /**
   * No slot could be written. True: in different regions, so it is the spare, and none of them is blamed. False: in one
   * region, so it is these slots.
   */
  isSparesFault(): boolean {
    const { slots } = this.#core;
    const isSpares = new Set(this.#slots.map((slot) => slots.regionOf(slot))).size > 1;
    if (isSpares) this.free();
    else this.retire();
    return isSpares;
  }
}
