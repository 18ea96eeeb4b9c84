import { IoFlags } from '../../block/block-device.ts';
import type { Policies } from '../policies.ts';

/**
 * What the volatile cache of main means for writes (R8). A drive acknowledges a write into its cache, and when the sector
 * proves bad later, nobody can be told any more: the error comes with a flush and names no sector, or never.
 *
 * - `none`     main has no volatile cache
 * - `bypassed` every write is durable when main acknowledges it
 * - `trusted`  main has shown no bad sector yet
 * - `late`     write errors of main may come late: the operator's wish
 */
export type MainCacheUse = 'none' | 'bypassed' | 'trusted' | 'late';

/** Decides with which flags main is written. */
export class MainCache {
  readonly #isVolatile: boolean;
  #showedMediumError = false;

  constructor(isVolatile: boolean) {
    this.#isVolatile = isVolatile;
  }

  /** Main has a bad sector, so it may have more. */
  noteMediumError(): void {
    this.#showedMediumError = true;
  }

  /** To be added to the flags of each write to main. On the hot path. */
  writeFlags(policy: Policies['mainCache']): number {
    const durable = policy === 'off' || (policy === 'fua' && this.#showedMediumError && this.#isVolatile);
    return durable ? IoFlags.fua : IoFlags.none;
  }

  /** For people. */
  use(policy: Policies['mainCache']): MainCacheUse {
    if (this.writeFlags(policy) !== IoFlags.none) return 'bypassed';
    if (!this.#isVolatile) return 'none';
    return policy === 'as-is' ? 'late' : 'trusted';
  }
}
