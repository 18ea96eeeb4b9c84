import { isRunning, type ProcessIdentity } from '../device/process/process-identity.ts';

const exitPollMs = 5;

/** True as soon as the process is gone, false when it is still there after `deadlineMs`. */
export async function hasEnded(identity: ProcessIdentity, deadlineMs: number): Promise<boolean> {
  for (let waitedMs = 0; waitedMs <= deadlineMs; waitedMs += exitPollMs) {
    if (!isRunning(identity)) return true;
    await new Promise((resolve) => setTimeout(resolve, exitPollMs));
  }
  return false;
}
