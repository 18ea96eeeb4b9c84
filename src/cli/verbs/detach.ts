import { deviceFolder, folderState, runtimeDirectory } from '../../device/process/runtime-directory.ts';
import { SetupError } from '../../device/setup-error.ts';
import { detachDevice } from '../detach-device.ts';
import { noSuchDevice } from '../find-device.ts';
import { printJson, type Terminal } from '../terminal.ts';

export interface DetachFlags {
  readonly wait?: string;
  readonly json?: boolean;
}

const waitSecondsMax = 86_400;

/** `detach NAME`: done when the block device is gone and what was written through it is durable. */
export async function runDetach(terminal: Terminal, name: string, flags: DetachFlags): Promise<void> {
  const waitMs = waitSeconds(flags.wait) * 1000;
  const report = await detachDevice(name, waitMs);
  if (report === undefined) {
    if (folderState(deviceFolder(runtimeDirectory(), name)).state === 'absent') throw noSuchDevice(name);
    throw new SetupError('not-found', `${name}: is not attached`);
  }
  if (flags.json === true) printJson(terminal, report);
}

function waitSeconds(text: string | undefined): number {
  if (text === undefined) return 0;
  const seconds = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (seconds <= waitSecondsMax) return seconds;
  throw new SetupError('usage', `--wait ${text}: expected seconds, 0 to 86400`);
}
