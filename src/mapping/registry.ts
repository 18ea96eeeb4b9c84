import { assert } from '../block/assert.ts';
import type { TargetType } from './target.ts';

/** The kinds of target that tables may name. */
export class TargetRegistry {
  readonly #types: ReadonlyMap<string, TargetType>;

  constructor(types: readonly TargetType[]) {
    this.#types = new Map(types.map((type) => [type.name, type]));
    assert(this.#types.size === types.length, 'TargetRegistry: two target types of one name');
  }

  /** Names in the order they were registered. */
  get names(): readonly string[] {
    return [...this.#types.keys()];
  }

  find(name: string): TargetType | undefined {
    return this.#types.get(name);
  }
}
