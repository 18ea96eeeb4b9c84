import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { ControlClient, ControlError } from '../../control/client.ts';
import type { RemoveReport } from '../../device/messages.ts';
import { isRunning, type ProcessIdentity } from '../../device/process/process-identity.ts';
import {
  type DeviceFolder,
  deviceFolder,
  folderState,
  removeDeadFolder,
  runtimeDirectory,
} from '../../device/process/runtime-directory.ts';
import { SetupError } from '../../device/setup-error.ts';
import { describeLeftBehind } from '../../device/stack/describe-unanswered.ts';
import { abandonAttachment, detachDevice } from '../detach-device.ts';
import { noSuchDevice } from '../find-device.ts';
import { hasEnded } from '../process-end.ts';
import { printJson, type Terminal } from '../terminal.ts';

/** After the disks are closed only the process's own end is left. */
const exitDeadlineMs = 15_000;
/** With `--force`: then it is killed. Told by signal it runs its hurried end in the second time. */
const exitByForceMs = 3_000;
const signalledEndMs = 8_000;
/** A process that turns answers this at once. */
const pingDeadlineMs = 2_000;
/** A killed process that is still there after this has an I/O that the kernel does not give up. */
const killDeadlineMs = 2_000;
/** A control plane that crashed is back after this; a device that starts serves. */
const answerDeadlineMs = 12_000;
const askAgainMs = 100;

export interface RemoveFlags {
  readonly force?: boolean;
  readonly json?: boolean;
}

/** How a device ended. */
interface Ended {
  readonly report: RemoveReport;
  /** It did not end by itself. */
  readonly killed: boolean;
}

const nothingDone: RemoveReport = { steps: [], leftBehind: [] };

/** `remove NAME [--force]`: its end, waited for; of a killed device it removes what is left. */
export async function runRemove(terminal: Terminal, name: string, options: RemoveFlags): Promise<void> {
  const directory = runtimeDirectory();
  const folder = deviceFolder(directory, name);
  const found = folderState(folder);
  if (found.state === 'absent') {
    // All that may be left of it: what a killed process had attached.
    if (!(await removeAttachmentOf(name, options.force === true))) throw noSuchDevice(name);
    return;
  }
  // Whoever uses its block device is named, and keeps it; one that nobody uses goes with the device.
  if (options.force !== true) await detachDevice(name, 0, true);
  if (found.state === 'dead') {
    abandonAttachment(name);
    removeDeadFolder(directory, folder);
    if (options.json === true) {
      printJson(terminal, { name, wasDead: true, killed: false, ...nothingDone, warnings: [] });
    }
    return;
  }
  const client = new ControlClient(folder.controlSocketPath);
  const warnings = (await withinMs(rawDiskWarnings(client), pingDeadlineMs)) ?? [];
  const ended =
    options.force === true
      ? await removeNow(client, found.process, directory, folder)
      : { report: await removeWhenIdle(client, found.process, name), killed: false };
  abandonAttachment(name);
  if (options.json === true) {
    printJson(terminal, { name, wasDead: false, killed: ended.killed, ...ended.report, warnings });
  }
  for (const warning of warnings) terminal.warn(`dm-remap: remove: warning: ${warning}`);
  const wrong = whatWentWrong(ended);
  if (wrong !== undefined) throw new SetupError('failed', `${name}: removed, but not cleanly: ${wrong}`);
}

/** False when there was none. */
async function removeAttachmentOf(name: string, force: boolean): Promise<boolean> {
  return force ? abandonAttachment(name) : (await detachDevice(name, 0)) !== undefined;
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

/** Nobody is cut off: a device that does not answer now is asked again, and only `--force` ends it otherwise. */
async function removeWhenIdle(
  client: ControlClient,
  identity: ProcessIdentity,
  name: string,
): Promise<RemoveReport> {
  const report = await askPatiently(client, identity, name);
  if (await hasEnded(identity, exitDeadlineMs)) return report;
  throw new SetupError(
    'failed',
    `${name}: process ${identity.pid} does not end; an I/O on a disk may hang; "dm-remap remove ${name} --force" kills it`,
  );
}

async function askPatiently(
  client: ControlClient,
  identity: ProcessIdentity,
  name: string,
): Promise<RemoveReport> {
  const untilMs = performance.now() + answerDeadlineMs;
  for (;;) {
    try {
      return await client.remove();
    } catch (error) {
      if (!(error instanceof ControlError)) throw error;
      if (error.code !== 'NO_ANSWER' && error.code !== 'NOBODY') {
        throw error.code === 'BUSY' ? new SetupError('busy', `${name}: ${error.message}`) : error;
      }
      // Somebody else's remove may have ended the process first.
      if (await hasEnded(identity, askAgainMs)) return nothingDone;
      if (performance.now() < untilMs) continue;
      throw new SetupError(
        'failed',
        `${name}: process ${identity.pid} does not answer (${error.message}); "dm-remap remove ${name} --force" kills it`,
      );
    }
  }
}

/**
 * By its API, else by its second signal, else killed: over a kill every promise holds as over a power cut. What stays then is
 * in the kernel.
 */
async function removeNow(
  client: ControlClient,
  identity: ProcessIdentity,
  directory: string,
  folder: DeviceFolder,
): Promise<Ended> {
  const awake = await isAwake(client);
  const report = awake === 'yes' ? await askOnce(client) : undefined;
  if (awake === 'unknown') signalTwice(identity);
  if (awake !== 'no' && (await hasEnded(identity, awake === 'yes' ? exitByForceMs : signalledEndMs))) {
    return { report: report ?? nothingDone, killed: false };
  }
  signal(identity, 'SIGKILL');
  if (!(await hasEnded(identity, killDeadlineMs))) {
    throw new SetupError(
      'failed',
      `${folder.name}: process ${identity.pid} is killed and ends when the kernel gives up its I/O${leftBehindText(report)}: a disk does not answer`,
    );
  }
  removeDeadFolder(directory, folder);
  return { report: report ?? nothingDone, killed: true };
}

/** `no`: its data thread, or all of it, is stopped, and nothing but a kill ends it. `unknown`: only its API is away. */
async function isAwake(client: ControlClient): Promise<'yes' | 'no' | 'unknown'> {
  try {
    return (await withinMs(client.ping(), pingDeadlineMs)) === undefined ? 'no' : 'yes';
  } catch (error) {
    if (!(error instanceof ControlError)) throw error;
    return error.code === 'NOBODY' ? 'unknown' : 'no';
  }
}

/** Undefined when it takes longer. */
async function withinMs<T>(work: Promise<T>, deadlineMs: number): Promise<T | undefined> {
  const late = new AbortController();
  const deadline = sleep(deadlineMs, undefined, { signal: late.signal }).catch(() => undefined);
  try {
    return await Promise.race([work, deadline]);
  } finally {
    late.abort();
    // Its failure comes when nobody asks any more.
    work.catch(() => undefined);
  }
}

async function askOnce(client: ControlClient): Promise<RemoveReport | undefined> {
  try {
    return await client.remove({ force: true });
  } catch (error) {
    if (!(error instanceof ControlError)) throw error;
    return undefined;
  }
}

/** The first signal is a clean end, the second one hurries it. */
function signalTwice(identity: ProcessIdentity): void {
  signal(identity, 'SIGTERM');
  setTimeout(() => signal(identity, 'SIGTERM'), askAgainMs).unref();
}

function signal(identity: ProcessIdentity, name: NodeJS.Signals): void {
  if (isRunning(identity)) process.kill(identity.pid, name);
}

function leftBehindText(report: RemoveReport | undefined): string {
  const left = describeLeftBehind(report?.leftBehind ?? []);
  return left === undefined ? '' : `, ${left}`;
}

/** Undefined for a clean end. */
function whatWentWrong({ report, killed }: Ended): string | undefined {
  const told = report.steps
    .filter((step) => step.result !== 'done')
    .map((step) => `${step.step} ${step.result}: ${step.detail}`);
  const left = describeLeftBehind(report.leftBehind);
  if (left !== undefined) told.push(`${left} without an answer, left to the kernel`);
  if (killed) told.push('its process was killed');
  if (told.length === 0) return undefined;
  const flushed = report.steps.some((step) => step.step === 'flush' && step.result === 'done');
  told.push(
    flushed
      ? 'everything acknowledged is durable'
      : 'what was acknowledged and not flushed is as safe as after a power cut',
  );
  return told.join('; ');
}
