import { writeFileSync } from 'node:fs';

/** -1000 would forbid it entirely, and a leak of ours would then kill everybody else first. */
const outOfMemoryScore = -900;

/**
 * Asks the kernel to take other processes first when memory runs out: dirty pages of the file system above the export
 * can only be freed through this process. Needs CAP_SYS_RESOURCE; false where it was refused.
 */
export function avoidOutOfMemoryKiller(): boolean {
  try {
    writeFileSync('/proc/self/oom_score_adj', String(outOfMemoryScore));
    return true;
  } catch {
    return false;
  }
}
