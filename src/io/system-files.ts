/**
 * The files by which the kernel and udev describe disks. Where they are is handed in, so that tests can describe any
 * machine as a tree of small files.
 */
import { readdir, readFile, realpath } from 'node:fs/promises';
import { basename, join } from 'node:path';

export interface SystemRoots {
  /** `/sys` */
  readonly sysfs: string;
  /** `/proc` */
  readonly proc: string;
  /** `/run/udev/data`: what udev found out; absent on small systems. */
  readonly udevData: string;
}

export const systemRoots: SystemRoots = { sysfs: '/sys', proc: '/proc', udevData: '/run/udev/data' };

/** The text of a small file without the blanks around it; empty when it is not there or the kernel has nothing to say. */
export async function readText(...path: readonly string[]): Promise<string> {
  try {
    return (await readFile(join(...path), 'utf8')).replace(/[\s\0]+$/, '').trimStart();
  } catch {
    return '';
  }
}

/** Bytes of a small file; empty when it is not there. */
export async function readBytes(...path: readonly string[]): Promise<Uint8Array> {
  try {
    return await readFile(join(...path));
  } catch {
    return new Uint8Array(0);
  }
}

/** Sorted names in a directory; empty when it is not there. */
export async function readNames(...path: readonly string[]): Promise<readonly string[]> {
  try {
    return (await readdir(join(...path))).sort();
  } catch {
    return [];
  }
}

/** The path behind links; the path itself when there is nothing. */
export async function resolvePath(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    return path;
  }
}

/** The directory of a block device (`8:1`), behind links, so that a partition's parent is its disk. */
export async function blockDirectory(roots: SystemRoots, deviceNumber: string): Promise<string | undefined> {
  try {
    return await realpath(join(roots.sysfs, 'dev', 'block', deviceNumber));
  } catch {
    return undefined;
  }
}

/** `8:1` for `/dev/sda1`, `/dev/disk/by-id/…` or `/dev/mapper/…`; empty when the kernel has no such block device. */
export async function deviceNumberOf(roots: SystemRoots, path: string): Promise<string> {
  if (!path.startsWith('/')) return '';
  const name = basename(await resolvePath(path));
  // The names of devices in sysfs have `!` where /dev has a folder (`cciss!c0d0`); such are found by their last part only.
  return readText(roots.sysfs, 'class', 'block', name, 'dev');
}

/** `/proc/self/mountinfo` and `/proc/swaps` write blanks and line ends as octal numbers. */
export function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

export interface MountEntry {
  readonly deviceNumber: string;
  readonly mountPoint: string;
  readonly type: string;
  readonly source: string;
}

/** What is mounted in this process's view, in the order of mounting. Format: Documentation/filesystems/proc.rst 3.5. */
export async function readMounts(roots: SystemRoots): Promise<readonly MountEntry[]> {
  const entries: MountEntry[] = [];
  for (const line of (await readText(roots.proc, 'self', 'mountinfo')).split('\n')) {
    const words = line.split(' ');
    const dash = words.indexOf('-', 6);
    const [, , deviceNumber, , mountPoint] = words;
    if (dash < 0 || deviceNumber === undefined || mountPoint === undefined) continue;
    entries.push({
      deviceNumber,
      mountPoint: unescapeOctal(mountPoint),
      type: words[dash + 1] ?? '',
      source: unescapeOctal(words[dash + 2] ?? ''),
    });
  }
  return entries;
}

/** The mount that holds an absolute path without links: of those over one another the last. No question to a file system. */
export function mountOf(mounts: readonly MountEntry[], path: string): MountEntry | undefined {
  let found: MountEntry | undefined;
  for (const mount of mounts) {
    const folder = mount.mountPoint.endsWith('/') ? mount.mountPoint : `${mount.mountPoint}/`;
    if (`${path}/`.startsWith(folder) && mount.mountPoint.length >= (found?.mountPoint.length ?? 0))
      found = mount;
  }
  return found;
}

/** `major:minor` of a `st_dev` or `st_rdev`, as glibc's `gnu_dev_major` and `gnu_dev_minor` take it apart. */
export function formatDeviceNumber(encoded: bigint): string {
  const major = ((encoded >> 8n) & 0xfffn) | ((encoded >> 32n) & ~0xfffn);
  const minor = (encoded & 0xffn) | ((encoded >> 12n) & ~0xffn & 0xffffffffn);
  return `${major}:${minor}`;
}
