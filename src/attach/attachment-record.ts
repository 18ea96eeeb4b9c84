import { mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** By what a device is a block device of the kernel: its nbd driver, or its loop driver over our FUSE file. */
export type AttachmentKind = 'nbd' | 'loop';

/** What the kernel's device does when our process is gone: waits so many seconds for the next one, or fails at once (0). */
export interface Attachment {
  readonly kind: AttachmentKind;
  /** `loop0`, `nbd1`: the name in /dev and /sys/block. */
  readonly deviceName: string;
  /** The UUID of the device that is attached. */
  readonly uuid: string;
  /** Who served it when it was attached: `PID TICKS BOOT-ID`. */
  readonly servedBy: string;
  readonly readOnly: boolean;
  readonly queueSeconds: number;
  /**
   * The kernel's number of what is in the device now, of nbd the process that connected it: another one, and it is somebody
   * else's. Empty before it is known.
   */
  readonly diskSequence: string;
}

/**
 * Where devices are attached: a file a device, beside the folders of devices, because it outlives their processes. With the
 * machine it goes, as what it tells of.
 */
const recordFolder = '.attached';

const blockDevices = '/sys/block';

const deviceNamePattern = /^(?:loop|nbd)\d{1,7}$/;

export function readAttachment(runtimeDirectory: string, name: string): Attachment | undefined {
  let text: string;
  try {
    text = readFileSync(join(runtimeDirectory, recordFolder, name), 'utf8');
  } catch {
    return undefined;
  }
  return parseAttachment(text);
}

/** Undefined for a text that no version of ours wrote. */
export function parseAttachment(text: string): Attachment | undefined {
  try {
    const value: Partial<Attachment> = JSON.parse(text);
    const { kind, deviceName, uuid, servedBy, readOnly, queueSeconds, diskSequence } = value;
    const isWhole =
      (kind === 'nbd' || kind === 'loop') &&
      typeof deviceName === 'string' &&
      deviceNamePattern.test(deviceName) &&
      typeof uuid === 'string' &&
      typeof servedBy === 'string' &&
      typeof readOnly === 'boolean' &&
      typeof queueSeconds === 'number' &&
      typeof diskSequence === 'string';
    return isWhole ? { kind, deviceName, uuid, servedBy, readOnly, queueSeconds, diskSequence } : undefined;
  } catch {
    return undefined;
  }
}

/** It appears whole, by rename. */
export function writeAttachment(runtimeDirectory: string, name: string, attachment: Attachment): void {
  const folder = join(runtimeDirectory, recordFolder);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const next = join(folder, `.${name}.next`);
  writeFileSync(next, `${JSON.stringify(attachment)}\n`, { mode: 0o600 });
  renameSync(next, join(folder, name));
}

export function removeAttachment(runtimeDirectory: string, name: string): void {
  const folder = join(runtimeDirectory, recordFolder);
  rmSync(join(folder, name), { force: true });
  try {
    rmdirSync(folder);
  } catch {
    // Others are in it, or it is gone.
  }
}

/** Names of devices that are attached. */
export function attachedNames(runtimeDirectory: string): readonly string[] {
  try {
    return readdirSync(join(runtimeDirectory, recordFolder)).filter((name) => !name.startsWith('.'));
  } catch {
    return [];
  }
}

/** What a device of the kernel's has in it now; empty where the kernel does not say (loop before 5.15). */
export function diskSequenceOf(
  kind: AttachmentKind,
  deviceName: string,
  sysfs: string = blockDevices,
): string {
  return readSysfs(sysfs, deviceName, kind === 'nbd' ? 'pid' : 'diskseq');
}

/**
 * Whether what the record tells of is still there. Asks sysfs only: no device is opened, nothing waits for one. A number of a
 * device that was let go of by hand may be somebody else's by now, and his disk is not ours to link to, or to take down.
 */
export function isAttached(attachment: Attachment, sysfs: string = blockDevices): boolean {
  const { kind, deviceName, uuid, diskSequence } = attachment;
  if (diskSequence !== '' && diskSequence !== diskSequenceOf(kind, deviceName, sysfs)) return false;
  if (kind === 'loop') return readSysfs(sysfs, deviceName, 'loop/backing_file') !== '';
  const backend = readSysfs(sysfs, deviceName, 'backend');
  return readSysfs(sysfs, deviceName, 'pid') !== '' && (backend === '' || backend === backendName(uuid));
}

/** What the kernel knows an attached device by. */
export function backendName(uuid: string): string {
  return `dm-remap:${uuid}`;
}

function readSysfs(sysfs: string, deviceName: string, file: string): string {
  try {
    return readFileSync(join(sysfs, deviceName, file), 'latin1').trim();
  } catch {
    return '';
  }
}
