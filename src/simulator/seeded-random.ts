import { assert } from '../block/assert.ts';
import type { Random } from '../block/clock.ts';

/** FNV-1a over the UTF-16 units of a label, then an avalanche: similar labels give unrelated seeds. */
function hashLabel(start: number, label: string): number {
  let hash = start ^ 0x811c9dc5;
  for (let index = 0; index < label.length; index += 1) {
    hash = Math.imul(hash ^ label.charCodeAt(index), 0x01000193);
  }
  return avalanche(hash);
}

/** The finalizer of MurmurHash3: every bit of the input reaches every bit of the output. */
function avalanche(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/**
 * Chance that repeats: sfc32, 128 bits of state, which passes PractRand and costs four additions a draw.
 * One seed makes a whole world: each part of it forks its own stream by label, so that one more draw in one part
 * does not shift what every other part sees.
 */
export class SeededRandom implements Random {
  readonly #seed: number;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** A 32-bit number, or any text. */
  constructor(seed: number | string) {
    this.#seed = typeof seed === 'number' ? seed >>> 0 : hashLabel(0, seed);
    this.#a = avalanche(this.#seed);
    this.#b = avalanche(this.#seed ^ 0x9e3779b9);
    this.#c = avalanche(this.#seed ^ 0x3c6ef372);
    // The first outputs of sfc32 still resemble the seed.
    for (let round = 0; round < 12; round += 1) this.u32();
  }

  u32(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  fill(target: Uint8Array): void {
    let word = 0;
    for (let index = 0; index < target.length; index += 1) {
      if (index % 4 === 0) word = this.u32();
      target[index] = word & 0xff;
      word >>>= 8;
    }
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
