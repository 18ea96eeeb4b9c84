import type { Random } from './clock.ts';

/** The finalizer of MurmurHash3: every bit of the input reaches every bit of the output. */
export function avalanche(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Chance that repeats: sfc32, 128 bits of state, which passes PractRand and costs four additions a draw. */
export class RepeatableRandom implements Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** `seed`: its low 32 bits count. */
  constructor(seed: number) {
    this.#a = avalanche(seed);
    this.#b = avalanche(seed ^ 0x9e3779b9);
    this.#c = avalanche(seed ^ 0x3c6ef372);
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
}
