import { findDevice } from '../find-device.ts';
import { printJson, type Terminal } from '../terminal.ts';

/** `suspend NAME [--noflush]`: quiet, as `dmsetup`; it has happened when the command ends. */
export async function runSuspend(
  terminal: Terminal,
  name: string,
  options: { readonly noflush?: boolean; readonly json?: boolean },
): Promise<void> {
  const { state } = await findDevice(name).client.suspend(options.noflush !== true);
  if (options.json === true) printJson(terminal, { name, state });
}

/** `resume NAME`: of a device that is not suspended too. */
export async function runResume(
  terminal: Terminal,
  name: string,
  options: { readonly json?: boolean },
): Promise<void> {
  const { state } = await findDevice(name).client.resume();
  if (options.json === true) printJson(terminal, { name, state });
}
