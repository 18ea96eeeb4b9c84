import { readFileSync, writeFileSync } from 'node:fs';

const scoreFile = '/proc/self/oom_score_adj';

/** -1000 would forbid it entirely, and a leak of ours would then kill everybody else first. */
export const outOfMemoryScore = -900;

/**
 * Asks the kernel to take other processes first when memory runs out: dirty pages of the file system above the export
 * can only be freed through this process. Needs CAP_SYS_RESOURCE; without it the score stays. Returns the score that is in
 * force; 0, the usual, where nobody says.
 */
export function avoidOutOfMemoryKiller(): number {
  try {
    // Whoever started us may have asked for more protection.
    if (readScore() > outOfMemoryScore) writeFileSync(scoreFile, String(outOfMemoryScore));
  } catch {
    // Refused: as it is.
  }
  try {
    return readScore();
  } catch {
    return 0;
  }
}

function readScore(): number {
  return Number(readFileSync(scoreFile, 'latin1'));
}
