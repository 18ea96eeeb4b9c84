import { ControlClient } from '../control/client.ts';
import {
  type DeviceFolder,
  deviceFolder,
  folderState,
  runtimeDirectory,
} from '../device/process/runtime-directory.ts';
import { SetupError } from '../device/setup-error.ts';

/** A device whose process is there. */
export interface FoundDevice {
  readonly folder: DeviceFolder;
  readonly pid: number;
  readonly client: ControlClient;
}

/** The live device of this name. Throws `SetupError` not-found, which says what a dead one needs. */
export function findDevice(name: string, directory: string = runtimeDirectory()): FoundDevice {
  const folder = deviceFolder(directory, name);
  const found = folderState(folder);
  if (found.state === 'absent') throw noSuchDevice(name);
  if (found.state === 'dead') {
    throw new SetupError('not-found', deadDevice(name));
  }
  return { folder, pid: found.process.pid, client: new ControlClient(folder.controlSocketPath) };
}

/** What somebody should do about a device whose process was killed. */
export function deadDevice(name: string): string {
  return `${name}: its process was killed; "dm-remap assemble ${name} --spare …" brings it back`;
}

export function noSuchDevice(name: string): SetupError {
  return new SetupError('not-found', `${name}: no such device; "dm-remap ls" lists them`);
}
