import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAttached, readAttachment } from '../../attach/attachment-record.ts';
import type { DeviceStatus, DeviceTable } from '../../device/messages.ts';
import { deviceFolder, folderState, runtimeDirectory } from '../../device/process/runtime-directory.ts';
import type { ServeOptions } from '../../device/serve-options.ts';
import { SetupError } from '../../device/setup-error.ts';
import { cacheMode, engineChoice, portNumber, requestMemoryBytes } from '../device-arguments.ts';
import { findDevice } from '../find-device.ts';
import { handOver } from '../hand-over.ts';
import { launchDevice } from '../launch.ts';
import { printJson, type Terminal } from '../terminal.ts';

/** The new process gives a block device that waits its connection; the kernel takes it when it has seen the old one's end. */
const reattachDeadlineMs = 10_000;
const pollMs = 20;

/** `restart NAME`: a new process, of the program as it is now, serves the device with what the old one was started with. */
export async function runRestart(
  terminal: Terminal,
  name: string,
  flags: { readonly json?: boolean },
): Promise<void> {
  const directory = runtimeDirectory();
  const { client, folder } = findDevice(name, directory);
  const found = folderState(folder);
  if (found.state !== 'live') throw new SetupError('failed', `${name}: its process has just ended`);
  const words = commandLineOf(found.process.pid);
  refuseForeground(name, words);
  refuseLoop(directory, name);
  const options = sameOptions(words, await client.status(), await client.table());
  const report = await handOver(folder, found.process);
  const ready = await launchDevice(options);
  await untilAttached(directory, name);
  const unclean = report.steps.filter((step) => step.result !== 'done');
  for (const { step, detail } of unclean) {
    terminal.warn(`dm-remap: restart: warning: the old process did not end cleanly: ${step}: ${detail}`);
  }
  if (flags.json === true) printJson(terminal, { name, notes: ready.notes, steps: report.steps });
  for (const note of ready.notes) if (flags.json !== true) terminal.print(`  note      ${note}`);
}

function commandLineOf(pid: number): readonly string[] {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
}

/** Whoever started it waits for it, and starts it again or not. */
function refuseForeground(name: string, words: readonly string[]): void {
  if (words.includes('--report-descriptor')) return;
  throw new SetupError(
    'busy',
    `${name}: is served in the foreground, and whoever started it would miss it; of a service: systemctl restart dm-remap@${name}`,
  );
}

function refuseLoop(directory: string, name: string): void {
  const attachment = readAttachment(directory, name);
  if (attachment?.kind !== 'loop' || !isAttached(attachment)) return;
  throw new SetupError(
    'busy',
    `${name}: is attached by a loop device, whose requests cannot wait for another process; unmount and "dm-remap detach ${name}" first`,
  );
}

/**
 * What it was started with, but for the disks, which may be others by now, and for what was to hold for one start only: policies are on
 * the spare, and nobody accepts a second time what he accepted then.
 */
export function sameOptions(
  words: readonly string[],
  status: DeviceStatus,
  table: DeviceTable,
): ServeOptions {
  const wordBehind = (flag: string): string | undefined => {
    const at = words.indexOf(flag);
    return at < 0 ? undefined : words[at + 1];
  };
  const port = portNumber(wordBehind('--port'));
  const io = engineChoice(wordBehind('--io'));
  const memory = requestMemoryBytes(wordBehind('--memory'));
  const socketPath = wordBehind('--socket');
  return {
    name: status.name,
    sparePath: status.spare?.path ?? '',
    main:
      status.main.access === 'table'
        ? { kind: 'table', text: `${table.mainLines.join('\n')}\n`, label: wordBehind('--main-label') ?? '-' }
        : { kind: 'path', path: status.main.path },
    cache: cacheMode(wordBehind('--cache') ?? 'none'),
    force: false,
    acceptMain: false,
    acceptChanges: false,
    ...(words.includes('--without-spare') ? { withoutSpare: true } : {}),
    ...(socketPath === undefined ? {} : { socketPath }),
    ...(port === undefined ? {} : { port }),
    ...(io === undefined ? {} : { io }),
    ...(memory === undefined ? {} : { requestMemoryBytes: memory }),
  };
}

/** Where the kernel's requests wait: until it has the new process. */
async function untilAttached(directory: string, name: string): Promise<void> {
  for (let waitedMs = 0; waitedMs < reattachDeadlineMs; waitedMs += pollMs) {
    const attachment = readAttachment(directory, name);
    if (attachment === undefined || !isAttached(attachment)) return;
    const served = readFileSync(deviceFolder(directory, name).pidPath, 'latin1').trim();
    if (attachment.servedBy === served) return;
    await sleep(pollMs);
  }
  throw new SetupError(
    'failed',
    `${name}: serves again, but its block device has not been given to it; "dm-remap attach ${name}" does it`,
  );
}
