import { setTimeout as sleep } from 'node:timers/promises';
import type { DeviceWatch } from './device-watch.ts';

/** How `top` goes on: how often, how many times, until when. */
export interface TopRun {
  readonly watch: DeviceWatch;
  readonly intervalSeconds: number;
  /** Infinite without `--count`. */
  readonly countMax: number;
  readonly json: boolean;
  /** Aborted by a signal or a key, and when nothing is left to look at. */
  readonly ending: AbortController;
}

/** Resolves when it is time for the next look, and at once when `wake` is aborted. */
export async function untilNext({ intervalSeconds }: TopRun, wake: AbortSignal): Promise<void> {
  await sleep(intervalSeconds * 1000, undefined, { signal: wake }).catch(() => undefined);
}
