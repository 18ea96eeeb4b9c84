interface ByteRange {
  readonly offset: number;
  readonly end: number;
}

/** Ranges kept apart; more are joined into one that covers all: doubt may be too wide, never too narrow. */
export const doubtfulRangesMax = 1024;

/** Ranges whose last write had no answer when its connection ended: the server may have done it, or still do it (R33). */
export class DoubtfulWrites {
  #ranges: ByteRange[] = [];

  get count(): number {
    return this.#ranges.length;
  }

  add(offset: number, length: number): void {
    const added = { offset, end: offset + length };
    if (this.#ranges.length < doubtfulRangesMax) {
      this.#ranges.push(added);
      return;
    }
    const all = [...this.#ranges, added];
    const first = Math.min(...all.map((range) => range.offset));
    this.#ranges = [{ offset: first, end: Math.max(...all.map((range) => range.end)) }];
  }

  overlaps(offset: number, length: number): boolean {
    return this.#ranges.some((range) => range.offset < offset + length && range.end > offset);
  }

  clear(): void {
    this.#ranges = [];
  }
}
