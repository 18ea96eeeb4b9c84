import { join } from 'node:path';
import type { HostState } from '../host/host-state.ts';

/** In the device's folder of the host state, or of the runtime directory where there is no host state. */
export const eventFileName = 'events.jsonl';
/** About 4 000 events; with the file before it a device never has more than twice this on disk. */
export const eventFileBytesMax = 1_048_576;
/** Of the log for people, in the runtime directory. */
export const logFileBytesMax = 1_048_576;

/** Where the events of a device are, on a host that remembers it. */
export function eventFilePath(hostState: HostState, uuid: string): string {
  return join(hostState.folderOf(uuid), eventFileName);
}
