import type { BlockDevice } from '../../src/block/block-device.ts';
import { type Clock, delay } from '../../src/block/clock.ts';
import { asDeviceError, deviceError } from '../../src/block/device-error.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';

/**
 * A device with a deadline in front of a slow one: a write for which `lateMs` gives a time is answered as timed out, and
 * reaches the disk so much later, over whatever is there by then (R3).
 */
export class LateWrites extends FilterDevice {
  readonly #clock: Clock;
  readonly #lateMs: () => number | undefined;

  constructor(below: BlockDevice, clock: Clock, lateMs: () => number | undefined) {
    super(below);
    this.#clock = clock;
    this.#lateMs = lateMs;
  }

  override write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
    const lateMs = this.#lateMs();
    if (lateMs === undefined) return this.below.write(source, offset, flags);
    void this.#arriveLater(source.slice(), offset, flags, lateMs);
    return Promise.reject(deviceError(this.name, 'timed-out', offset, source.length));
  }

  async #arriveLater(
    source: Uint8Array,
    offset: number,
    flags: number | undefined,
    lateMs: number,
  ): Promise<void> {
    await delay(this.#clock, lateMs);
    // Nobody waits for it any more: that it failed is as good as that it never came.
    await this.below.write(source, offset, flags).catch(asDeviceError);
  }
}
