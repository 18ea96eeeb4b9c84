import { describeUnread } from '../spare/candidate.ts';
import { inUse } from '../spare/create-safety.ts';
import type { OpenedMain } from './disks.ts';

/**
 * R27: a disk that somebody else uses is refused by name, whatever options say. An exclusive open keeps others off a block
 * device; of an image file only the kernel's tables tell that it is attached, mounted or swapped to. Throws `SetupError`.
 */
export async function refuseUsed(disk: OpenedMain, role: 'main' | 'spare'): Promise<void> {
  const refusal = inUse(await describeUnread(disk.path, disk), role);
  if (refusal !== undefined) throw refusal;
}
