import { performance } from 'node:perf_hooks';
import process from 'node:process';
import type { HostileRun } from './hostile-run.ts';

const progressMs = 5_000;
/** What the heap may hold more at the end than after the first fifth: a conversation that leaves 100 bytes shows. */
const heapGrowthBytesMax = 4 * 1024 * 1024;

/** Whether the process grows; with --expose-gc only, else there is no telling. */
export class HeapWatch {
  readonly #messages: number;
  #shownMs = performance.now();
  #early: number | undefined;

  constructor(messages: number) {
    this.#messages = messages;
  }

  look({ outcome }: HostileRun): void {
    if (outcome.mutatedMessages * 5 >= this.#messages) this.#early ??= usedBytes();
    if (performance.now() - this.#shownMs < progressMs) return;
    this.#shownMs = performance.now();
    console.log(`  ${outcome.mutatedMessages} messages, ${outcome.conversations} conversations`);
  }

  judge(): void {
    const early = this.#early;
    const late = usedBytes();
    if (early === undefined || late === undefined) return;
    console.log(
      `  heap ${(early / 1e6).toFixed(1)} MB after a fifth, ${(late / 1e6).toFixed(1)} MB at the end`,
    );
    if (late - early > heapGrowthBytesMax) throw new Error(`the heap grew by ${late - early} bytes`);
  }
}

function usedBytes(): number | undefined {
  if (globalThis.gc === undefined) return undefined;
  globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
