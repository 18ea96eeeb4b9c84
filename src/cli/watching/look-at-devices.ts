import { ControlClient, ControlError } from '../../control/client.ts';
import type { DeviceStatus } from '../../device/messages.ts';
import { listDevices, runtimeDirectory } from '../../device/process/runtime-directory.ts';
import { deadDevice, noSuchDevice } from '../find-device.ts';

/** Half of what Prometheus waits for a scrape: one device that hangs must not take the others' figures with it. */
export const lookDeadlineMs = 5_000;

/** A device that did not answer, and why, in one clause. */
export interface SilentDevice {
  readonly name: string;
  readonly why: string;
}

export interface Look {
  readonly answers: readonly DeviceStatus[];
  readonly silent: readonly SilentDevice[];
}

/**
 * Asks all devices of this user, or those that are named, at one time; each has `deadlineMs`. A named one that is not there is silent
 * too: it may come back. Throws `SetupError` where there is no runtime directory to look in.
 */
export async function lookAtDevices(
  names: readonly string[],
  deadlineMs: number = lookDeadlineMs,
): Promise<Look> {
  const found = listDevices(runtimeDirectory());
  const wanted = names.length === 0 ? found : found.filter(({ folder }) => names.includes(folder.name));
  const results = await Promise.all(
    wanted.map(async ({ folder: { name, controlSocketPath }, state }) => {
      if (state.state !== 'live') return { silent: { name, why: deadDevice(name) } };
      try {
        return { answer: await new ControlClient(controlSocketPath).status(deadlineMs) };
      } catch (error) {
        if (error instanceof ControlError) return { silent: { name, why: `${name}: ${error.message}` } };
        throw error;
      }
    }),
  );
  const absent = names.filter((name) => !found.some(({ folder }) => folder.name === name));
  return {
    answers: results.flatMap(({ answer }) => (answer === undefined ? [] : [answer])),
    silent: [
      ...results.flatMap(({ silent }) => (silent === undefined ? [] : [silent])),
      ...absent.map((name) => ({ name, why: noSuchDevice(name).message })),
    ],
  };
}
