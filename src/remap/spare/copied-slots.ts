/** Which slots of the new spare hold what the old one holds now: one bit a slot. */
export class CopiedSlots {
  readonly #bits: Uint32Array;
  readonly #granuleBytes: number;

  constructor(slotCount: number, granuleBytes: number) {
    this.#bits = new Uint32Array(Math.ceil(slotCount / 32));
    this.#granuleBytes = granuleBytes;
  }

  has(slot: number): boolean {
    return (this.#bits[slot >>> 5]! & (1 << (slot & 31))) !== 0;
  }

  add(slot: number): void {
    this.#bits[slot >>> 5]! |= 1 << (slot & 31);
  }

  /** These bytes of the old spare are about to change. What lies behind the last slot is nobody's. */
  forget(offset: number, length: number): void {
    const last = Math.floor((offset + length - 1) / this.#granuleBytes);
    for (let slot = Math.floor(offset / this.#granuleBytes); slot <= last; slot += 1) {
      if (slot >>> 5 < this.#bits.length) this.#bits[slot >>> 5]! &= ~(1 << (slot & 31));
    }
  }
}
