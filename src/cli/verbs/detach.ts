import { readAttachment } from '../../attach/attachment-record.ts';
import { deviceFolder, folderState, runtimeDirectory } from '../../device/process/runtime-directory.ts';
import { SetupError } from '../../device/setup-error.ts';
import { detachDevice } from '../detach-device.ts';
import { noSuchDevice } from '../find-device.ts';
import { handOver } from '../hand-over.ts';
import { isBeingRestarted } from '../service-restart.ts';
import { printJson, type Terminal } from '../terminal.ts';

export interface DetachFlags {
  readonly wait?: string;
  /** A unit of systemd. */
  readonly unlessRestart?: string;
  readonly json?: boolean;
}

const waitSecondsMax = 86_400;

/** `detach NAME`: done when the block device is gone and what was written through it is durable. */
export async function runDetach(terminal: Terminal, name: string, flags: DetachFlags): Promise<void> {
  const waitMs = waitSeconds(flags.wait) * 1000;
  if (flags.unlessRestart !== undefined && (await leftToNext(name, flags.unlessRestart))) return;
  const report = await detachDevice(name, waitMs);
  if (report === undefined) {
    if (folderState(deviceFolder(runtimeDirectory(), name)).state === 'absent') throw noSuchDevice(name);
    throw new SetupError('not-found', `${name}: is not attached`);
  }
  if (flags.json === true) printJson(terminal, report);
}

/** True when the unit is being restarted: its process has ended, and whoever uses the block device waits for the next one. */
async function leftToNext(name: string, unit: string): Promise<boolean> {
  const directory = runtimeDirectory();
  const folder = deviceFolder(directory, name);
  const found = folderState(folder);
  // What a loop device carries cannot wait.
  if (found.state !== 'live' || readAttachment(directory, name)?.kind === 'loop') return false;
  if (!(await isBeingRestarted(unit))) return false;
  await handOver(folder, found.process);
  return true;
}

function waitSeconds(text: string | undefined): number {
  if (text === undefined) return 0;
  const seconds = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (seconds <= waitSecondsMax) return seconds;
  throw new SetupError('usage', `--wait ${text}: expected seconds, 0 to 86400`);
}
