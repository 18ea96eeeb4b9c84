import { setTimeout as sleep } from 'node:timers/promises';

const attempts = 5;
const goodEnoughMs = 10;

/**
 * How late the most punctual of a few timers is, in milliseconds. A loop that starves timers makes all of them late; a machine
 * that is busy with something else only some.
 */
export async function leastLateMs(delayMs: number): Promise<number> {
  let leastMs = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < attempts && leastMs > goodEnoughMs; attempt += 1) {
    const started = performance.now();
    await sleep(delayMs);
    leastMs = Math.min(leastMs, performance.now() - started - delayMs);
  }
  return leastMs;
}
