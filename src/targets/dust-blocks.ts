import { TargetError } from '../mapping/target-error.ts';

/** Largest write fail count: an unsigned char in the kernel. */
export const writeFailCountMax = 255;

/** The bad blocks of a dust device, by number, each with the writes that it will still fail. */
export class DustBlocks {
  readonly #writeFailCounts = new Map<number, number>();

  get size(): number {
    return this.#writeFailCounts.size;
  }

  has(block: number): boolean {
    return this.#writeFailCounts.has(block);
  }

  add(block: number, writeFailCount: number): void {
    if (this.has(block)) {
      throw new TargetError('MESSAGE_ARGUMENT', `dust: block ${block} already in badblocklist`);
    }
    this.#writeFailCounts.set(block, writeFailCount);
  }

  remove(block: number): void {
    if (!this.#writeFailCounts.delete(block)) {
      throw new TargetError('MESSAGE_ARGUMENT', `dust: block ${block} not found in badblocklist`);
    }
  }

  clear(): void {
    this.#writeFailCounts.clear();
  }

  /** True when a write of this block fails now; one that does not makes the block good. */
  failsWrite(block: number): boolean {
    const remaining = this.#writeFailCounts.get(block);
    if (remaining === undefined) return false;
    if (remaining === 0) {
      this.#writeFailCounts.delete(block);
      return false;
    }
    this.#writeFailCounts.set(block, remaining - 1);
    return true;
  }

  /** Ascending. */
  list(): number[] {
    return [...this.#writeFailCounts.keys()].sort((left, right) => left - right);
  }
}
