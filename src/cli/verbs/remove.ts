import process from 'node:process';
import { ControlClient, ControlError } from '../../control/client.ts';
import type { RemoveReport } from '../../device/messages.ts';
import { isRunning, type ProcessIdentity } from '../../device/process/process-identity.ts';
import {
  deviceFolder,
  folderState,
  removeDeadFolder,
  runtimeDirectory,
} from '../../device/process/runtime-directory.ts';
import { SetupError } from '../../device/setup-error.ts';
import { printJson, type Terminal } from '../terminal.ts';

/** After the disks are closed only the process's own end is left. */
const exitDeadlineMs = 15_000;
/** A device that was told by signal runs its whole clean end in this time. */
const signalDeadlineMs = 200_000;
const exitPollMs = 5;

/** `remove NAME`: a clean end, waited for; of a killed device it removes what is left. */
export async function runRemove(
  terminal: Terminal,
  name: string,
  options: { readonly json?: boolean },
): Promise<void> {
  const directory = runtimeDirectory();
  const folder = deviceFolder(directory, name);
  const found = folderState(folder);
  if (found.state === 'absent') throw new SetupError('not-found', `${name}: no such device`);
  if (found.state === 'dead') {
    removeDeadFolder(directory, folder);
    if (options.json === true) printJson(terminal, { name, wasDead: true, steps: [], warnings: [] });
    return;
  }
  const warnings = await rawDiskWarnings(new ControlClient(folder.controlSocketPath));
  const report = await removeLive(new ControlClient(folder.controlSocketPath), found.process, name);
  if (options.json === true) printJson(terminal, { name, wasDead: false, steps: report.steps, warnings });
  for (const warning of warnings) terminal.warn(`dm-remap: remove: warning: ${warning}`);
  const wrong = report.steps.filter((step) => step.result !== 'done');
  if (wrong.length === 0) return;
  const told = wrong.map((step) => `${step.step} ${step.result}: ${step.detail}`).join('; ');
  throw new SetupError('failed', `${name}: removed, but not cleanly: ${told}`);
}

/** M16: what somebody should know who uses main without us. A device that does not answer is removed all the same. */
async function rawDiskWarnings(client: ControlClient): Promise<readonly string[]> {
  try {
    const { name, main, spare, remap } = await client.status();
    const { remappedSectors, unreadableSectors, goneSectors } = remap;
    // Nothing of it can be brought home, and it said at its start what main lacks (M13).
    if (spare === null) return [];
    const lost = unreadableSectors + goneSectors;
    if (remappedSectors + lost === 0) return [];
    return [
      `${main.path} alone has not all data: ${remappedSectors} sectors are on ${spare.path}, ${lost} are lost; ` +
        `do not mount it without dm-remap ("dm-remap retire ${name}" brings them home first)`,
    ];
  } catch (error) {
    if (!(error instanceof ControlError)) throw error;
    return [];
  }
}

async function removeLive(
  client: ControlClient,
  identity: ProcessIdentity,
  name: string,
): Promise<RemoveReport> {
  let report: RemoveReport = { steps: [] };
  let deadlineMs = exitDeadlineMs;
  try {
    report = await client.remove();
  } catch (error) {
    if (!(error instanceof ControlError)) throw error;
    // The control plane may be down, or somebody else's remove ended the process first. A signal asks for the same.
    if (error.code !== 'NO_ANSWER' && error.code !== 'NOBODY') throw error;
    if (isRunning(identity)) process.kill(identity.pid, 'SIGTERM');
    deadlineMs = signalDeadlineMs;
  }
  if (!(await hasEnded(identity, deadlineMs))) {
    throw new SetupError(
      'failed',
      `${name}: process ${identity.pid} does not end; an I/O on a disk may hang`,
    );
  }
  return report;
}

async function hasEnded(identity: ProcessIdentity, deadlineMs: number): Promise<boolean> {
  for (let waitedMs = 0; waitedMs <= deadlineMs; waitedMs += exitPollMs) {
    if (!isRunning(identity)) return true;
    await new Promise((resolve) => setTimeout(resolve, exitPollMs));
  }
  return false;
}
