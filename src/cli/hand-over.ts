import { ControlClient, ControlError } from '../control/client.ts';
import type { RemoveReport } from '../device/messages.ts';
import type { ProcessIdentity } from '../device/process/process-identity.ts';
import type { DeviceFolder } from '../device/process/runtime-directory.ts';
import { SetupError } from '../device/setup-error.ts';
import { hasEnded } from './process-end.ts';

/** After the disks are closed only the process's own end is left. */
const exitDeadlineMs = 15_000;

/**
 * Ends a device's process for the next one that serves the device: what was acknowledged is durable, clients get no answer any more, and
 * those that come back send again what has none. Throws `SetupError` busy, and it serves on, while a disk does not answer.
 */
export async function handOver(
  { name, controlSocketPath }: DeviceFolder,
  process: ProcessIdentity,
): Promise<RemoveReport> {
  try {
    const report = await new ControlClient(controlSocketPath).handOver();
    if (await hasEnded(process, exitDeadlineMs)) return report;
  } catch (error) {
    if (!(error instanceof ControlError)) throw error;
    throw error.code === 'BUSY' ? new SetupError('busy', `${name}: ${error.message}`) : error;
  }
  throw new SetupError(
    'failed',
    `${name}: process ${process.pid} does not end; an I/O on a disk may hang; "dm-remap remove ${name} --force" kills it`,
  );
}
