import type { DiskRequests } from '../messages.ts';
import type { OpenedDisk } from './disks.ts';

/** What the kernel, or an NBD server, has not answered, for each disk that has any such request. */
export function requestsByDisk(disks: readonly OpenedDisk[]): readonly DiskRequests[] {
  const found = new Map<string, number>();
  // Two lines of a table may have opened one disk twice.
  for (const { path, device } of disks) found.set(path, (found.get(path) ?? 0) + device.inFlight);
  return [...found].filter(([, requests]) => requests > 0).map(([path, requests]) => ({ path, requests }));
}
