import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import process from 'node:process';
import { formatBytes } from '../../block/byte-text.ts';
import { identityOfProcess } from '../../device/process/process-identity.ts';
import {
  claimFolder,
  deviceFolder,
  releaseHeldFolder,
  runtimeDirectory,
} from '../../device/process/runtime-directory.ts';
import type { MainChoice, ServeOptions } from '../../device/serve-options.ts';
import { SetupError } from '../../device/setup-error.ts';
import { type CreateOptions, type CreateReport, createDevice } from '../../device/spare/create-device.ts';
import { makeSpareFile } from '../../device/spare/spare-file.ts';
import { parseRemapTable } from '../../device/stack/remap-table.ts';
import { type AttachReport, attachDevice, attachText } from '../attach-device.ts';
import { policiesGiven } from '../commands/policy-flags.ts';
import {
  cacheMode,
  type DiskFlags,
  engineChoice,
  mainChoice,
  portNumber,
  requestMemoryBytes,
} from '../device-arguments.ts';
import { refuseTakenExport } from '../export-places.ts';
import { failureOf, LaunchError } from '../failure.ts';
import { Launch, type Ready } from '../launch.ts';
import { printJson, type Terminal } from '../terminal.ts';
import { parseBytes } from '../text/byte-size.ts';

export interface CreateFlags extends DiskFlags {
  readonly table?: string;
  readonly createSpare?: string;
  readonly overwriteSpare?: boolean;
  readonly forceTakeover?: boolean;
  readonly fresh?: boolean;
  readonly attach?: boolean;
  readonly checkSpare?: boolean;
  readonly [policy: string]: string | boolean | undefined;
  readonly json?: boolean;
}

/** What is served then; unlike with `assemble`, all of it is known. */
interface CreatedDevice extends ServeOptions {
  readonly name: string;
  readonly main: MainChoice;
}

/** `create NAME`: every refusal comes before the first write; then the device's own process is started. */
export async function runCreate(terminal: Terminal, name: string, flags: CreateFlags): Promise<void> {
  const { main, sparePath, lengthBytes } = disksOf(flags);
  const port = portNumber(flags.port);
  const io = engineChoice(flags.io);
  const memoryBytes = requestMemoryBytes(flags.memory);
  const serve: CreatedDevice = {
    name,
    main,
    sparePath,
    cache: cacheMode(flags.cache),
    ...(io === undefined ? {} : { io }),
    force: false,
    acceptMain: false,
    acceptChanges: false,
    ...(flags.socket === undefined ? {} : { socketPath: resolve(flags.socket) }),
    ...(port === undefined ? {} : { port }),
    ...(memoryBytes === undefined ? {} : { requestMemoryBytes: memoryBytes }),
  };
  const release = holdName(name);
  try {
    await refuseTakenExport(serve.socketPath, port);
    await createNamed(terminal, flags, serve, lengthBytes);
  } finally {
    release();
  }
}

/** The name is held by us. */
async function createNamed(
  terminal: Terminal,
  flags: CreateFlags,
  serve: CreatedDevice,
  lengthBytes: number | undefined,
): Promise<void> {
  const { name, main, sparePath, io } = serve;
  if (flags.createSpare !== undefined) await makeSpareFile(sparePath, spareSize(flags.createSpare));
  const options: CreateOptions = {
    name,
    main,
    sparePath,
    cache: serve.cache,
    ...(io === undefined ? {} : { io }),
    overwriteSpare: flags.overwriteSpare === true,
    takeover: flags.forceTakeover === true,
    fresh: flags.fresh === true,
    policies: policiesGiven(flags),
    ...(lengthBytes === undefined ? {} : { lengthBytes }),
  };
  // Its process loads the program while the spare is formatted.
  const launch = new Launch(serve);
  const report = await createOrTakeBack(terminal, flags, launch, options);
  for (const warning of report.warnings) terminal.warn(`dm-remap: create: warning: ${warning}`);
  const ready = await serveCreated(launch);
  const attachment = flags.attach === true ? await attachCreated(name) : undefined;
  if (flags.json === true) {
    const attached = attachment === undefined ? {} : { attachment };
    printJson(terminal, { name, exports: ready.exports, notes: ready.notes, ...report, ...attached });
  } else terminal.print(createdText(ready, report, attachment));
}

/** A spare that this command made itself goes again when the command fails: the next try would find it in its way. */
async function createOrTakeBack(
  terminal: Terminal,
  flags: CreateFlags,
  launch: Launch,
  options: CreateOptions,
): Promise<CreateReport> {
  const checkSpare = progressOf(terminal, options.sparePath);
  try {
    return await createDevice(flags.checkSpare === true ? { ...options, checkSpare } : options);
  } catch (error) {
    await launch.abandon();
    if (flags.createSpare !== undefined) await rm(options.sparePath, { force: true });
    throw error;
  } finally {
    terminal.progress?.(undefined);
  }
}

/** Written over on a terminal, nothing in a pipe. */
function progressOf(terminal: Terminal, sparePath: string): (doneBytes: number, totalBytes: number) => void {
  let told = -1;
  return (doneBytes, totalBytes) => {
    const percent = Math.floor((100 * doneBytes) / totalBytes);
    if (percent === told) return;
    told = percent;
    terminal.progress?.(`${sparePath}: checked ${percent} %`);
  };
}

interface ChosenDisks {
  readonly main: MainChoice;
  readonly sparePath: string;
  readonly lengthBytes?: number;
}

function disksOf(flags: CreateFlags): ChosenDisks {
  const main = mainChoice(flags);
  if (flags.table === undefined) {
    if (main === undefined)
      throw new SetupError('usage', 'which disk is failing? give --main, --main-table or --table');
    if (flags.spare === undefined) throw new SetupError('usage', 'where should bad sectors go? give --spare');
    return { main, sparePath: flags.spare };
  }
  if (main !== undefined || flags.spare !== undefined) {
    throw new SetupError('usage', '--table names both disks; leave out --main, --main-table and --spare');
  }
  const { mainPath, sparePath, lengthBytes } = parseRemapTable(flags.table);
  return { main: { kind: 'path', path: mainPath }, sparePath, lengthBytes };
}

function spareSize(text: string): number {
  const bytes = parseBytes(text);
  if (bytes !== undefined && bytes % 4096 === 0) return bytes;
  throw new SetupError('usage', `--create-spare ${text}: expected a multiple of 4 KiB such as 64M or 1G`);
}

/**
 * Makes the name ours before the spare is touched: a name that is taken, by somebody who creates it at the same time too, or no
 * place for sockets must not cost a spare its contents. The device's own process takes it over from us. Returns what gives it up
 * when it did not come to that.
 */
function holdName(name: string): () => void {
  const directory = runtimeDirectory();
  const folder = deviceFolder(directory, name);
  const self = identityOfProcess(process.pid);
  if (self === undefined)
    throw new SetupError('failed', '/proc: needed to tell processes apart, and not there');
  claimFolder(directory, folder, self);
  return () => releaseHeldFolder(folder, self);
}

/** The spare is formatted by now; whoever gets an error must know that. */
async function serveCreated(launch: Launch): Promise<Ready> {
  try {
    return await launch.serve();
  } catch (error) {
    if (!(error instanceof LaunchError)) throw error;
    throw new LaunchError(
      error.exitCode,
      `${error.message} (the spare is formatted: next time use "dm-remap assemble")`,
    );
  }
}

/** With its defaults; the device is there by now, whoever gets an error must know that. */
async function attachCreated(name: string): Promise<AttachReport> {
  try {
    return await attachDevice(name, { readOnly: false, queueSeconds: undefined, kind: undefined });
  } catch (error) {
    const { exitCode, message } = failureOf(error);
    throw new LaunchError(
      exitCode,
      `${message} (the device is created and serves: next time use "dm-remap attach ${name}")`,
    );
  }
}

function createdText(ready: Ready, report: CreateReport, attachment: AttachReport | undefined): string {
  return [
    `${ready.name}: ${formatBytes(report.sizeBytes)}, serving`,
    `  main      ${report.main}`,
    `  spare     ${report.spare}`,
    `  layout    ${report.layout}`,
    ...(report.check === undefined
      ? []
      : [`  check     ${report.check.slots} slots written and read back, ${report.check.bad} bad`]),
    ...ready.notes.map((note) => `  note      ${note}`),
    ...ready.exports.map((uri) => `  export    ${uri}`),
    ...(attachment === undefined ? [] : [`  attached  ${attachText(attachment)}`]),
  ].join('\n');
}
