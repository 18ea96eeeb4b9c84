/** R16: so many granules that fail writes, in so many eighths of main, without one good write between, are no bad sectors. */
export const stormGranulesMin = 32;
export const stormRegionsMin = 4;
const regions = 8;

/**
 * Counts granules of main that failed a write since the last write that succeeded. Firmware that has locked itself says
 * "medium error" to everything: each granule looks bad by itself, and all of main would move to the spare.
 */
export class WriteStorm {
  readonly #granuleCount: number;
  /** No more than the threshold. */
  readonly #granules = new Set<number>();
  readonly #regions = new Set<number>();

  constructor(granuleCount: number) {
    this.#granuleCount = granuleCount;
  }

  /** Something has failed since the last good write. */
  get begun(): boolean {
    return this.#regions.size > 0;
  }

  /** No error is believed any more, not even a definite one, until a write somewhere has succeeded. */
  get raging(): boolean {
    return this.#granules.size >= stormGranulesMin && this.#regions.size >= stormRegionsMin;
  }

  noteFailed(granule: number): void {
    if (this.#granules.size < stormGranulesMin) this.#granules.add(granule);
    this.#regions.add(Math.floor((granule * regions) / this.#granuleCount));
  }

  noteWorked(): void {
    this.#granules.clear();
    this.#regions.clear();
  }
}
