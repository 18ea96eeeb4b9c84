import {
  accessSync,
  chmodSync,
  constants,
  type Dirent,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import process from 'node:process';
import { SetupError } from '../setup-error.ts';
import { invalidDeviceName } from './device-name.ts';
import {
  formatIdentity,
  identityOfProcess,
  isRunning,
  type ProcessIdentity,
  parseIdentity,
} from './process-identity.ts';

/**
 *     /run/dm-remap/             0700
 *       NAME/                    there while the device is; appears whole, by rename
 *         pid                    who serves it: process id, start time, boot
 *         control.sock           the control API
 *         nbd.sock               the export, unless --socket names another place
 *         elsewhere              inode and path of such a socket: what a killed process left outside of its folder
 *         daemon.log             bounded; daemon.log.1 is the piece before it
 */
export interface DeviceFolder {
  readonly name: string;
  readonly path: string;
  readonly pidPath: string;
  readonly controlSocketPath: string;
  readonly nbdSocketPath: string;
  readonly elsewherePath: string;
  readonly logPath: string;
}

/** The kernel's `sun_path` holds 108 bytes with its closing zero (man 7 unix). */
export const socketPathBytesMax = 107;

/** Where all devices of this user live: `DM_REMAP_RUNTIME_DIR`, else by who we are. */
export function runtimeDirectory(
  environment: Readonly<Record<string, string | undefined>> = process.env,
  userId: number = process.getuid?.() ?? 0,
): string {
  const chosen = environment['DM_REMAP_RUNTIME_DIR'];
  if (chosen !== undefined && chosen !== '') return resolve(chosen);
  if (userId === 0) return '/run/dm-remap';
  const user = environment['XDG_RUNTIME_DIR'];
  if (user !== undefined && user !== '') return join(user, 'dm-remap');
  throw new SetupError(
    'usage',
    'neither XDG_RUNTIME_DIR nor DM_REMAP_RUNTIME_DIR is set; set one to a folder of yours',
  );
}

/**
 * Makes the folder of all devices, and those above it, unless they are there. Throws `SetupError` when that cannot be, or
 * when it is not for us to write to.
 */
export function makeRuntimeDirectory(directory: string): void {
  try {
    makeFolders(directory);
    accessSync(directory, constants.W_OK | constants.X_OK);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new SetupError(
      'failed',
      `${directory}: cannot hold the sockets of devices (${why}); DM_REMAP_RUNTIME_DIR names another folder`,
      { cause: error },
    );
  }
}

/** Not by `recursive` of Node 20, which tries forever where nobody can make a folder: in /proc, for one. */
function makeFolders(directory: string): void {
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    if (errorCode(error) === 'EEXIST' && statSync(directory).isDirectory()) return;
    if (errorCode(error) !== 'ENOENT' || existsSync(dirname(directory))) throw error;
    makeFolders(dirname(directory));
    makeFolders(directory);
  }
}

/** The paths of one device; nothing is touched. Throws `SetupError` for a bad name or a path too long for a socket. */
export function deviceFolder(directory: string, name: string): DeviceFolder {
  const wrong = invalidDeviceName(name);
  if (wrong !== undefined) throw new SetupError('usage', `${JSON.stringify(name)}: ${wrong}`);
  const path = join(directory, name);
  const controlSocketPath = join(path, 'control.sock');
  if (Buffer.byteLength(controlSocketPath) > socketPathBytesMax) {
    throw new SetupError(
      'usage',
      `${controlSocketPath}: longer than the ${socketPathBytesMax} bytes of a socket's path; DM_REMAP_RUNTIME_DIR names a shorter folder`,
    );
  }
  return {
    name,
    path,
    pidPath: join(path, 'pid'),
    controlSocketPath,
    nbdSocketPath: join(path, 'nbd.sock'),
    elsewherePath: join(path, 'elsewhere'),
    logPath: join(path, 'daemon.log'),
  };
}

export type FolderState =
  | { readonly state: 'absent' }
  /** Its process is there. */
  | { readonly state: 'live'; readonly process: ProcessIdentity }
  /** Its process was killed and left the folder behind. */
  | { readonly state: 'dead' };

export function folderState(folder: DeviceFolder): FolderState {
  if (!isThere(folder)) return { state: 'absent' };
  const identity = readIdentity(folder.pidPath);
  return identity !== undefined && isRunning(identity)
    ? { state: 'live', process: identity }
    : { state: 'dead' };
}

/** Throws `SetupError` where that is hidden from us: not to be allowed to look is no proof that there is nothing. */
function isThere({ path }: DeviceFolder): boolean {
  try {
    statSync(path);
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return false;
    const why = error instanceof Error ? error.message : String(error);
    throw new SetupError(
      'failed',
      `${dirname(path)}: the folder of devices cannot be entered (${why}); ask as the user whose devices they are, or as root`,
      { cause: error },
    );
  }
}

function readIdentity(pidPath: string): ProcessIdentity | undefined {
  try {
    return parseIdentity(readFileSync(pidPath, 'latin1'));
  } catch (error) {
    // Its process may well be there: what we may not look at is not for us to call dead.
    if (errorCode(error) === 'EACCES') {
      throw new SetupError('failed', `${dirname(pidPath)}: permission denied; the device is another user's`, {
        cause: error,
      });
    }
    return undefined;
  }
}

export interface ListedDevice {
  readonly folder: DeviceFolder;
  readonly state: FolderState;
}

function foldersIn(directory: string): Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new SetupError(
      'failed',
      `${directory}: is not the folder of devices (${why}); DM_REMAP_RUNTIME_DIR names another folder`,
      { cause: error },
    );
  }
}

/** Every device with a folder, in the order of names. */
export function listDevices(directory: string): ListedDevice[] {
  if (!existsSync(directory)) return [];
  return foldersIn(directory)
    .filter((entry) => entry.isDirectory() && invalidDeviceName(entry.name) === undefined)
    .map((entry) => deviceFolder(directory, entry.name))
    .map((folder) => ({ folder, state: folderState(folder) }))
    .sort((a, b) => (a.folder.name < b.folder.name ? -1 : 1));
}

/**
 * Makes the device's folder ours. It is built beside its place and renamed into it: nobody ever sees it without its pid
 * file, and of two processes that want one name exactly one wins (rename(2) onto a folder that is not empty fails). One that
 * `holderPid` holds, the process that started us and made ready what we serve, is taken over as it is.
 */
export function claimFolder(
  directory: string,
  folder: DeviceFolder,
  self: ProcessIdentity,
  holderPid?: number,
): void {
  makeRuntimeDirectory(directory);
  if (holderPid !== undefined && isHeldBy(folder, holderPid)) {
    const next = join(folder.path, 'pid.next');
    writeFileSync(next, formatIdentity(self), { mode: 0o600 });
    renameSync(next, folder.pidPath);
    return;
  }
  sweepUnfinished(directory);
  removeDeadFolder(directory, folder);
  const building = join(directory, `.claim-${self.pid}-${self.startTicks}-${folder.name}`);
  rmSync(building, { recursive: true, force: true });
  mkdirSync(building, { mode: 0o700 });
  try {
    chmodSync(building, 0o700);
    writeFileSync(join(building, 'pid'), formatIdentity(self), { mode: 0o600 });
    renameSync(building, folder.path);
  } catch (error) {
    rmSync(building, { recursive: true, force: true });
    if (errorCode(error) === 'ENOTEMPTY' || errorCode(error) === 'EEXIST') throw inUse(folder);
    throw error;
  }
}

/** Removes what a killed process left under this name. Throws `SetupError` busy while a live one has it. */
export function removeDeadFolder(directory: string, folder: DeviceFolder): boolean {
  const found = folderState(folder);
  if (found.state === 'absent') return false;
  if (found.state === 'live') throw inUse(folder);
  // Renamed away first: the decision is then about the folder we hold, whoever claims the name meanwhile.
  const grave = join(directory, `.dead-${process.pid}-${folder.name}`);
  rmSync(grave, { recursive: true, force: true });
  try {
    renameSync(folder.path, grave);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
  const moved = readIdentity(join(grave, 'pid'));
  if (moved !== undefined && isRunning(moved)) {
    renameSync(grave, folder.path);
    throw inUse(folder);
  }
  removeSocketElsewhere(join(grave, 'elsewhere'));
  rmSync(grave, { recursive: true, force: true });
  return true;
}

/** Notes a socket of ours outside of the folder, so that it can be removed should this process be killed. */
export function noteSocketElsewhere(folder: DeviceFolder, socketPath: string): void {
  writeFileSync(folder.elsewherePath, `${statSync(socketPath).ino} ${socketPath}`, { mode: 0o600 });
}

/** Only the very socket that was noted: somebody else may have taken the path since. */
function removeSocketElsewhere(notePath: string): void {
  if (!existsSync(notePath)) return;
  const match = /^(\d+) (.+)$/s.exec(readFileSync(notePath, 'utf8'));
  const path = match?.[2];
  if (path === undefined || path.includes('\0')) return;
  try {
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found?.isSocket() === true && String(found.ino) === match?.[1]) unlinkSync(path);
  } catch (error) {
    // A socket that is not to be reached any more must not keep the name from being used again.
    if (errorCode(error) === undefined) throw error;
  }
}

function isHeldBy(folder: DeviceFolder, pid: number): boolean {
  const found = folderState(folder);
  return found.state === 'live' && found.process.pid === pid;
}

/** Gives up a folder that was claimed by the process `self`, unless another one has taken it over. */
export function releaseHeldFolder(folder: DeviceFolder, self: ProcessIdentity): void {
  if (isHeldBy(folder, self.pid)) releaseFolder(folder);
}

/** Gives up a folder that is ours. */
export function releaseFolder(folder: DeviceFolder): void {
  rmSync(folder.path, { recursive: true, force: true });
}

/** Removes half-made and half-removed folders of processes that were killed between two steps. */
function sweepUnfinished(directory: string): void {
  for (const entry of readdirSync(directory)) {
    const owner = /^\.(?:claim|dead)-(\d{1,10})-/.exec(entry)?.[1];
    if (owner === undefined || identityOfProcess(Number(owner)) !== undefined) continue;
    rmSync(join(directory, entry), { recursive: true, force: true });
  }
}

function inUse(folder: DeviceFolder): SetupError {
  return new SetupError(
    'busy',
    `${folder.name}: a device of this name exists already; choose another name, or "dm-remap remove ${folder.name}"`,
  );
}

function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
