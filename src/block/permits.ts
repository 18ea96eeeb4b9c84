import { assert } from './assert.ts';

/** At most so many at once; the others wait in the order in which they came. Whoever waits holds nothing of these. */
export class Permits {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(atOnceMax: number) {
    assert(atOnceMax > 0, 'Permits: at least one at once');
    this.#free = atOnceMax;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
    }
    try {
      return await work();
    } finally {
      // Handed over: nobody who comes meanwhile is before the one who has waited longest.
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}
