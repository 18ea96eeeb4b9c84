import { closeSync, constants, fsyncSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Errno, errnoName } from '../block/errno.ts';
import { clearLoop, configureLoop, freeLoopNumber, LoopFlag, loopName } from '../linux/loop-ioctl.ts';
import { SystemCallError } from '../linux/system-call.ts';
import { AttachError } from './attach-error.ts';

/**
 * FUSE cuts what is longer than 256 pages of memory; where the memory begins within a page, the cut is not at a block's end, and the
 * rest would be refused. Half of that is never cut.
 */
const requestKibibytesMax = 512;

/** Somebody else may take the loop device that the kernel called free. */
const attemptsMax = 32;
/** The kernel lets go of a loop device when its last user closes it, which a udev that looks at it delays. */
const clearDeadlineMs = 10_000;
const clearPollMs = 10;

export interface LoopAttachmentOptions {
  /** Of our FUSE file. */
  readonly filePath: string;
  readonly logicalBlockBytes: number;
  readonly readOnly: boolean;
  /** What the kernel knows it by. */
  readonly name: string;
  /** Called with `loop0` before the device is anything: whoever dies behind it has left a note. */
  readonly onChosen: (deviceName: string) => void;
}

/** Puts a loop device over the file, past the page cache, with its partitions; its name. Throws `AttachError`. */
export function attachLoop(options: LoopAttachmentOptions): string {
  const fileFd = openSync(options.filePath, options.readOnly ? constants.O_RDONLY : constants.O_RDWR);
  try {
    const controlFd = openPath('/dev/loop-control', constants.O_RDWR);
    try {
      return configureFree(controlFd, fileFd, options);
    } finally {
      closeSync(controlFd);
    }
  } finally {
    closeSync(fileFd);
  }
}

function configureFree(controlFd: number, fileFd: number, options: LoopAttachmentOptions): string {
  const { logicalBlockBytes: blockBytes, readOnly, name, onChosen } = options;
  const flags = LoopFlag.directIo | LoopFlag.partitionScan | (readOnly ? LoopFlag.readOnly : 0);
  for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
    const deviceName = `loop${freeLoopNumber(controlFd)}`;
    const loopFd = openPath(`/dev/${deviceName}`, constants.O_RDWR);
    try {
      onChosen(deviceName);
      configureLoop(loopFd, { fileFd, blockBytes, flags, name });
      completeOrClear(loopFd, deviceName);
      return deviceName;
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      if (error.errno !== Errno.EBUSY) throw refused(`/dev/${deviceName}`, error);
    } finally {
      closeSync(loopFd);
    }
  }
  throw new AttachError('busy', 'no loop device is free; "losetup --list" shows who has them');
}

/** Throws, and has taken the file away again, when it cannot be used as it is. */
function completeOrClear(loopFd: number, deviceName: string): void {
  try {
    if (!isDirect(deviceName)) {
      throw new AttachError(
        'failed',
        `/dev/${deviceName}: the kernel does not read its file past the page cache`,
      );
    }
    writeFileSync(`/sys/block/${deviceName}/queue/max_sectors_kb`, String(requestKibibytesMax));
  } catch (error) {
    clearLoop(loopFd);
    throw error;
  }
}

function refused(path: string, error: SystemCallError): AttachError {
  const why =
    error.errno === Errno.EINVAL
      ? `${error.message}: the loop driver is too old (Linux 5.8 is needed), or knows no blocks of this size`
      : error.message;
  return new AttachError('failed', `${path}: ${why}`, { cause: error });
}

function isDirect(deviceName: string): boolean {
  return readFileSync(`/sys/block/${deviceName}/loop/dio`, 'latin1').trim() === '1';
}

function openPath(path: string, flags: number): number {
  try {
    return openSync(path, flags);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new AttachError(
      'failed',
      `${path}: ${why}; a loop device needs the loop driver and the rights of root`,
      {
        cause: error,
      },
    );
  }
}

/**
 * Makes what was written durable, and takes the file away from the loop device. Throws `AttachError` busy when somebody has
 * mounted or claimed it. Of a device whose process is gone nothing is made durable, and nothing could be.
 */
export async function detachLoop(deviceName: string, name: string, isServed: boolean): Promise<void> {
  const path = `/dev/${deviceName}`;
  const loopFd = openClaimed(path);
  try {
    if (loopName(loopFd) !== name) return;
    if (isServed) fsyncSync(loopFd);
    clearLoop(loopFd);
  } finally {
    closeSync(loopFd);
  }
  for (let waitedMs = 0; waitedMs < clearDeadlineMs; waitedMs += clearPollMs) {
    if (!hasLoopName(deviceName, name)) return;
    await sleep(clearPollMs);
  }
  throw new AttachError('busy', `${path}: somebody has opened it meanwhile; it goes when he closes it`);
}

/** Lets the kernel take the file away as soon as nobody has the device open any more. */
export function detachLoopLater(deviceName: string, name: string): void {
  const loopFd = openPath(`/dev/${deviceName}`, constants.O_RDONLY);
  try {
    if (loopName(loopFd) === name) clearLoop(loopFd);
  } finally {
    closeSync(loopFd);
  }
}

/** O_EXCL of a block device: nobody has mounted or claimed it, and nobody does while it is open. Throws `AttachError` busy. */
export function openClaimed(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_EXCL);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === errnoName(Errno.EBUSY)) {
      throw new AttachError('busy', `${path}: in use`, { cause: error });
    }
    throw error;
  }
}

/** Whether the loop device is the one that `attachLoop` gave this name. Throws `AttachError`. */
export function hasLoopName(deviceName: string, name: string): boolean {
  const loopFd = openPath(`/dev/${deviceName}`, constants.O_RDONLY);
  try {
    return loopName(loopFd) === name;
  } finally {
    closeSync(loopFd);
  }
}
