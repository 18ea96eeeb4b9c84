import type { BlockDevice } from '../../src/block/block-device.ts';
import { type Clock, delay } from '../../src/block/clock.ts';
import { deviceError } from '../../src/block/device-error.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';
import type { SeededRandom } from '../../src/simulator/seeded-random.ts';

/**
 * A device with a deadline in front of a slow one: while `#late` says so, a write is answered as timed out and reaches the
 * disk some time later, over whatever is there by then (R3).
 */
export class LateWrites extends FilterDevice {
  readonly #clock: Clock;
  readonly #random: SeededRandom;
  readonly #late: () => boolean;

  constructor(below: BlockDevice, clock: Clock, random: SeededRandom, late: () => boolean) {
    super(below);
    this.#clock = clock;
    this.#random = random;
    this.#late = late;
  }

  override write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
    if (!this.#late()) return this.below.write(source, offset, flags);
    void this.#arriveLater(source.slice(), offset, flags);
    return Promise.reject(deviceError(this.name, 'timed-out', offset, source.length));
  }

  async #arriveLater(source: Uint8Array, offset: number, flags: number | undefined): Promise<void> {
    await delay(this.#clock, this.#random.between(5, 300));
    await this.below.write(source, offset, flags);
  }
}
