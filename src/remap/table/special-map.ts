/**
 * Answers "nothing special in this range" without touching the table: one bit a unit of granules, in pages that exist only
 * where something is special.
 *
 *     directory  [ page | – | – | page | … ]        at most 2^16 pages
 *     page       4096 bytes = 32 768 bits, a bit = 2^shift granules, and a count of set bits
 *
 * The shift is 0 (exact) up to 8 TiB of 4 KiB granules; above, a set bit means "look into the table".
 */
const pageBits = 32_768;
const directoryPagesMax = 1 << 16;

export class SpecialMap {
  readonly #pages: (Uint32Array | undefined)[];
  /** Special granules of each unit that has any: needed only when a unit holds more than one granule. */
  readonly #unitCounts = new Map<number, number>();
  readonly #granulesPerUnit: number;

  /** For granules 0 to `granuleCount - 1`. */
  constructor(granuleCount: number) {
    let granulesPerUnit = 1;
    while (Math.ceil(granuleCount / granulesPerUnit / pageBits) > directoryPagesMax) granulesPerUnit *= 2;
    this.#granulesPerUnit = granulesPerUnit;
    const pages = Math.ceil(granuleCount / granulesPerUnit / pageBits);
    this.#pages = new Array<Uint32Array | undefined>(pages).fill(undefined);
  }

  /** True when no granule from `first` to `last`, both included, is special. May err towards false, never towards true. */
  none(first: number, last: number): boolean {
    const lastUnit = Math.floor(last / this.#granulesPerUnit);
    let unit = Math.floor(first / this.#granulesPerUnit);
    while (unit <= lastUnit) {
      const page = this.#pages[Math.floor(unit / pageBits)];
      if (page === undefined) {
        unit = (Math.floor(unit / pageBits) + 1) * pageBits;
        continue;
      }
      const bit = unit % pageBits;
      const word = page[bit >>> 5]!;
      if (word === 0) {
        unit += 32 - (bit & 31);
        continue;
      }
      if ((word & (1 << (bit & 31))) !== 0) return false;
      unit += 1;
    }
    return true;
  }

  /** To be called once for each granule that becomes special. */
  add(granule: number): void {
    const unit = Math.floor(granule / this.#granulesPerUnit);
    if (this.#granulesPerUnit > 1) this.#unitCounts.set(unit, (this.#unitCounts.get(unit) ?? 0) + 1);
    const at = Math.floor(unit / pageBits);
    const page = this.#pages[at] ?? new Uint32Array(pageBits / 32);
    this.#pages[at] = page;
    const bit = unit % pageBits;
    page[bit >>> 5]! |= 1 << (bit & 31);
  }

  /** To be called once for each granule that stops being special. */
  remove(granule: number): void {
    const unit = Math.floor(granule / this.#granulesPerUnit);
    if (this.#granulesPerUnit > 1) {
      const left = (this.#unitCounts.get(unit) ?? 1) - 1;
      if (left > 0) {
        this.#unitCounts.set(unit, left);
        return;
      }
      this.#unitCounts.delete(unit);
    }
    const page = this.#pages[Math.floor(unit / pageBits)];
    if (page === undefined) return;
    const bit = unit % pageBits;
    page[bit >>> 5]! &= ~(1 << (bit & 31));
  }
}
