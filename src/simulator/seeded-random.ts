import { assert } from '../block/assert.ts';
import { avalanche, RepeatableRandom } from '../block/repeatable-random.ts';

/** FNV-1a over the UTF-16 units of a label, then an avalanche: similar labels give unrelated seeds. */
function hashLabel(start: number, label: string): number {
  let hash = start ^ 0x811c9dc5;
  for (let index = 0; index < label.length; index += 1) {
    hash = Math.imul(hash ^ label.charCodeAt(index), 0x01000193);
  }
  return avalanche(hash);
}

/**
 * Repeatable chance with what a simulation draws from it. One seed makes a whole world: each part of it forks its own
 * stream by label, so that one more draw in one part does not shift what every other part sees.
 */
export class SeededRandom extends RepeatableRandom {
  readonly #seed: number;

  /** A 32-bit number, or any text. */
  constructor(seed: number | string) {
    const number = typeof seed === 'number' ? seed >>> 0 : hashLabel(0, seed);
    super(number);
    this.#seed = number;
  }

  /** A whole number from 0 to `limit - 1`; `limit` is 1 to 2^32. */
  below(limit: number): number {
    assert(Number.isInteger(limit) && limit >= 1 && limit <= 2 ** 32, `below: ${limit} is not 1 to 2^32`);
    return Math.floor((this.u32() / 2 ** 32) * limit);
  }

  /** A number from `least` up to, not including, `limit`. */
  between(least: number, limit: number): number {
    return least + (this.u32() / 2 ** 32) * (limit - least);
  }

  /** True with this probability, 0 to 1. */
  chance(probability: number): boolean {
    return this.u32() < probability * 2 ** 32;
  }

  /** One of at least one item. */
  pick<T>(items: readonly T[]): T {
    assert(items.length > 0, 'pick: nothing to pick from');
    return items[this.below(items.length)]!;
  }

  /** A stream that depends on this one's seed and the label only, never on what was drawn so far. */
  fork(label: string): SeededRandom {
    return new SeededRandom(hashLabel(this.#seed, label));
  }
}
