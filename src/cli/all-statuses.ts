import { ControlClient, ControlError } from '../control/client.ts';
import type { DeviceStatus } from '../device/messages.ts';
import { listDevices, runtimeDirectory } from '../device/process/runtime-directory.ts';
import { deadDevice } from './find-device.ts';

export interface AllStatuses {
  readonly statuses: readonly DeviceStatus[];
  /** One clause for each device that could not be asked. */
  readonly silent: readonly string[];
}

/** Every device of this user, in the order of names. */
export async function allStatuses(): Promise<AllStatuses> {
  const answers = await Promise.all(
    listDevices(runtimeDirectory()).map(async ({ folder, state }): Promise<DeviceStatus | string> => {
      if (state.state !== 'live') return deadDevice(folder.name);
      try {
        return await new ControlClient(folder.controlSocketPath).status();
      } catch (error) {
        if (error instanceof ControlError) return `${folder.name}: ${error.message}`;
        throw error;
      }
    }),
  );
  return {
    statuses: answers.filter((answer) => typeof answer !== 'string'),
    silent: answers.filter((answer) => typeof answer === 'string'),
  };
}
