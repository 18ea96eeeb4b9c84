import { lstatSync, mkdirSync, readdirSync, readlinkSync, rmdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { AttachError } from './attach-error.ts';

/** Where stable names of attached devices are. */
export const linkFolder = '/dev/dm-remap';

/** Where links are made, and where the kernel tells of block devices. */
export interface LinkPlaces {
  readonly folder: string;
  readonly sysfs: string;
}

const linkPlaces: LinkPlaces = { folder: linkFolder, sysfs: '/sys/block' };

/** `/dev/dm-remap/NAME`. */
export function linkPath(name: string, folder: string = linkFolder): string {
  return join(folder, name);
}

/** Names of the partitions of a disk that the kernel knows, by their number: `1` → `loop0p1`. */
export function partitionsOf(
  deviceName: string,
  sysfs: string = linkPlaces.sysfs,
): ReadonlyMap<number, string> {
  const found = new Map<number, string>();
  const prefix = /\d$/.test(deviceName) ? `${deviceName}p` : deviceName;
  for (const entry of readdirSync(join(sysfs, deviceName))) {
    const number = entry.startsWith(prefix) ? Number(entry.slice(prefix.length)) : Number.NaN;
    if (Number.isSafeInteger(number) && number > 0) found.set(number, entry);
  }
  return found;
}

/**
 * Makes `/dev/dm-remap/NAME` and, for each partition, `NAME-partN` as in /dev/disk/by-id; takes away those of partitions that
 * are no more. Returns the paths. Throws `AttachError` busy when a name is another device's.
 */
export function makeLinks(
  name: string,
  deviceName: string,
  { folder, sysfs }: LinkPlaces = linkPlaces,
): readonly string[] {
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const wanted = new Map([[name, deviceName]]);
  for (const [number, partition] of partitionsOf(deviceName, sysfs))
    wanted.set(`${name}-part${number}`, partition);
  for (const [link] of linksOf(name, deviceName, folder)) {
    if (!wanted.has(link)) rmSync(join(folder, link), { force: true });
  }
  return [...wanted].map(([link, target]) => makeLink(join(folder, link), target, deviceName, sysfs));
}

/** Takes away the links of a device that is attached no more; those that point elsewhere stay. */
export function removeLinks(name: string, deviceName: string, folder: string = linkFolder): void {
  for (const [link] of linksOf(name, deviceName, folder)) rmSync(join(folder, link), { force: true });
  try {
    rmdirSync(folder);
  } catch {
    // Others are in it, or it is not there.
  }
}

/** Links of this name that point to the device or a partition of it. */
function linksOf(name: string, deviceName: string, folder: string): readonly (readonly [string, string])[] {
  let entries: readonly string[];
  try {
    entries = readdirSync(folder);
  } catch {
    return [];
  }
  return entries
    .filter(
      (entry) => entry === name || /^-part\d+$/.test(entry.startsWith(name) ? entry.slice(name.length) : ''),
    )
    .map((entry) => [entry, targetOf(join(folder, entry)) ?? ''] as const)
    .filter(([, target]) => isOf(target, deviceName));
}

function isOf(target: string, deviceName: string): boolean {
  return (
    target === deviceName ||
    /^p\d+$/.test(target.startsWith(deviceName) ? target.slice(deviceName.length) : '')
  );
}

function makeLink(path: string, target: string, deviceName: string, sysfs: string): string {
  const there = targetOf(path);
  if (there === target) return path;
  if (there === undefined && lstatSync(path, { throwIfNoEntry: false }) !== undefined) {
    throw new AttachError('busy', `${path}: is there and is no link of ours; move it away`);
  }
  if (there !== undefined && !isOf(there, deviceName) && isInUse(there, sysfs)) {
    throw new AttachError('busy', `${path}: is the name of /dev/${there}, another device; detach that first`);
  }
  rmSync(path, { force: true });
  symlinkSync(`../${target}`, path);
  return path;
}

/** The device that a link of ours points to; undefined where there is none. */
function targetOf(path: string): string | undefined {
  try {
    return /^\.\.\/([a-z0-9]+)$/.exec(readlinkSync(path))?.[1];
  } catch {
    return undefined;
  }
}

/** Whether a loop or nbd device, or one of its partitions, has something in it. */
function isInUse(deviceName: string, sysfs: string): boolean {
  const disk = /^(?:loop|nbd)\d+/.exec(deviceName)?.[0];
  if (disk === undefined) return true;
  const entries = ['loop/backing_file', 'pid'].map((file) => join(sysfs, disk, file));
  return entries.some((entry) => lstatSync(entry, { throwIfNoEntry: false }) !== undefined);
}
