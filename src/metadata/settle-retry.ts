/** How long the store tries to settle what is in doubt, or to write a checkpoint or superblock that must be written. */
export const settleTimeoutMs = 15_000;
const retryDelayMs = 100;
const retryDelayMaxMs = 2_000;

/** Doubles with the time that has passed, so that a spare that comes back is seen soon and one that does not costs little. */
export function retryDelay(passedMs: number): number {
  return Math.min(retryDelayMaxMs, Math.max(retryDelayMs, passedMs));
}
