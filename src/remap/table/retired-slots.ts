/** Slots that proved bad (M9), in any order of arrival and in ascending order for a checkpoint. */
export class RetiredSlots {
  readonly #slots = new Set<number>();
  /** Sorted once for a pass: sorting in each of its pieces would cost 20 ms a piece with 100 000 slots (M7). */
  #ascending: Float64Array | undefined;

  get count(): number {
    return this.#slots.size;
  }

  has(slot: number): boolean {
    return this.#slots.has(slot);
  }

  add(slot: number, slotCount = 1): void {
    for (let at = slot; at < slot + slotCount; at += 1) this.#slots.add(at);
    this.#ascending = undefined;
  }

  delete(slot: number): void {
    this.#slots.delete(slot);
    this.#ascending = undefined;
  }

  /** A copy, so that slots may be deleted meanwhile. */
  all(): readonly number[] {
    return [...this.#slots];
  }

  /** At most `limit` slots at or behind `next`, ascending, and the one behind them. */
  after(next: number, limit: number): { slots: readonly number[]; rest: number | undefined } {
    this.#ascending ??= Float64Array.from(this.#slots).sort();
    const slots: number[] = [];
    for (let at = lowerBound(this.#ascending, next); at < this.#ascending.length; at += 1) {
      const slot = this.#ascending[at]!;
      if (slots.length === limit) return { slots, rest: slot };
      slots.push(slot);
    }
    return { slots, rest: undefined };
  }
}

/** Index of the first value at or above `wanted`. */
function lowerBound(ascending: Float64Array, wanted: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ascending[middle]! < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}
