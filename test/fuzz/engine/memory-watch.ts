import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Violation } from './fuzz-target.ts';

/** What the process may take more than when it began, whatever the input says: a length from outside is no size of ours. */
const residentGrowthBytesMax = 700 * 1024 * 1024;
/** What may stay behind: a few bytes an execution show after some thousand. */
const heapGrowthBytesMax = 24 * 1024 * 1024;
/** Looks, behind the whole corpus, until everything is compiled and cached: so few that the slowest target in CI gets there. */
const warmLooks = 15;

/** Whether the process grows without end. */
export class MemoryWatch {
  readonly #startBytes: number = process.memoryUsage.rss();
  #looks = 0;
  #warmBytes: number | undefined;

  async look(): Promise<void> {
    this.#looks += 1;
    const grown = process.memoryUsage.rss() - this.#startBytes;
    if (grown > residentGrowthBytesMax) throw new Violation(`the process grew by ${grown} bytes`);
    if (this.#looks === warmLooks) this.#warmBytes = await usedBytes();
  }

  async judge(): Promise<void> {
    if (this.#warmBytes === undefined) return;
    const grown = (await usedBytes()) - this.#warmBytes;
    if (grown > heapGrowthBytesMax) throw new Violation(`the heap grew by ${grown} bytes`);
  }
}

/** What is left after collections until they find nothing more: memory of buffers is given back behind them. */
async function usedBytes(): Promise<number> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 4; round += 1) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 20));
    const { heapUsed, external } = process.memoryUsage();
    least = Math.min(least, heapUsed + external);
  }
  return least;
}
