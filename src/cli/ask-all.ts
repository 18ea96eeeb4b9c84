import { ControlClient, ControlError } from '../control/client.ts';
import { listDevices, runtimeDirectory } from '../device/process/runtime-directory.ts';
import { deadDevice } from './find-device.ts';

export interface Answers<T> {
  readonly answers: readonly T[];
  /** One clause for each device that could not be asked. */
  readonly silent: readonly string[];
}

/** Asks every device of this user, all at one time; answers come in the order of names. */
export async function askAll<T>(ask: (client: ControlClient) => Promise<T>): Promise<Answers<T>> {
  const found = await Promise.all(
    listDevices(runtimeDirectory()).map(async ({ folder, state }) => {
      if (state.state !== 'live') return { silent: deadDevice(folder.name) };
      try {
        return { answer: await ask(new ControlClient(folder.controlSocketPath)) };
      } catch (error) {
        if (error instanceof ControlError) return { silent: `${folder.name}: ${error.message}` };
        throw error;
      }
    }),
  );
  return {
    answers: found.flatMap((one) => ('answer' in one ? [one.answer] : [])),
    silent: found.flatMap((one) => ('silent' in one ? [one.silent] : [])),
  };
}
