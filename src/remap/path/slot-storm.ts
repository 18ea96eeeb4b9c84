/** R5: so many fresh slots in a row that could not be filled, by whatever error, are no bad slots. */
export const slotStormMin = 8;

/**
 * Counts slots of the spare that were retired since one could be filled. A spare that is worn out says "medium error" to every
 * write, and each move would take four of its slots out of use for ever. From then on only another slot that can be filled
 * proves one bad.
 */
export class SlotStorm {
  #retired = 0;

  get raging(): boolean {
    return this.#retired >= slotStormMin;
  }

  noteRetired(): void {
    this.#retired += 1;
  }

  noteWorked(): void {
    this.#retired = 0;
  }
}
