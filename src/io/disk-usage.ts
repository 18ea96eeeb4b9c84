/**
 * Who uses a disk or an image file already (R27): file systems, swap, holders, loop devices. Reads what the kernel tells
 * in this process's view; an exclusive open catches what other views hide.
 */
import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  blockDirectory,
  deviceNumberOf,
  formatDeviceNumber,
  type MountEntry,
  mountOf,
  readMounts,
  readNames,
  readText,
  resolvePath,
  type SystemRoots,
  systemRoots,
  unescapeOctal,
} from './system-files.ts';

/**
 * File systems that another process or machine answers for. To ask one of these about a file may take for ever, and who
 * opens a disk must not wait for somebody else's that hangs.
 */
const answeredElsewhere = /^(fuse|nfs|cifs|smb3|9p|ceph|afs)/;

/** Unit of `size` in sysfs, whatever the disk's blocks are. */
const sysfsSectorBytes = 512;

export interface DiskUser {
  readonly kind: 'mounted' | 'swap' | 'holder' | 'loop';
  /** The device that is used: the one asked about, a partition of it, or the disk it is a partition of; or the file. */
  readonly device: string;
  /** A clause for messages: `mounted on /home`, `/dev/sdb2 held by md0`. */
  readonly text: string;
}

/** A block device that matters for the question. */
interface Candidate {
  readonly deviceNumber: string;
  readonly directory: string;
  /** As people know it: the path asked about, or `/dev/` and its name. */
  readonly path: string;
  /** What stands before the clause when it is not the path asked about. */
  readonly prefix: string;
}

/** Everybody who uses the block device or file at `path`. Rejects with the system's error when there is nothing. */
export async function findUsers(
  path: string,
  roots: SystemRoots = systemRoots,
): Promise<readonly DiskUser[]> {
  const facts = await stat(path);
  if (!facts.isBlockDevice()) return findFileUsers(path, roots);
  return findBlockUsers(path, formatDeviceNumber(BigInt(facts.rdev)), roots);
}

/** As `findUsers`, of the block device with this number (`8:1`), known to people as `path`. */
export async function findBlockUsers(
  path: string,
  deviceNumber: string,
  roots: SystemRoots = systemRoots,
): Promise<readonly DiskUser[]> {
  const candidates = await family(path, deviceNumber, roots);
  const found = await Promise.all([
    mounts(candidates, roots),
    btrfsMembers(candidates, roots),
    swaps(candidates, roots),
    holders(candidates),
    loops(candidates, roots),
    loopTwins(candidates, roots),
  ]);
  return withoutRepeats(found.flat());
}

/** The device itself, its partitions, and the disk that it is a partition of. */
async function family(path: string, deviceNumber: string, roots: SystemRoots): Promise<readonly Candidate[]> {
  const directory = await blockDirectory(roots, deviceNumber);
  if (directory === undefined) return [{ deviceNumber, directory: '', path, prefix: '' }];
  const candidates: Candidate[] = [{ deviceNumber, directory, path, prefix: '' }];
  const add = async (other: string): Promise<void> => {
    const name = `/dev/${other.slice(other.lastIndexOf('/') + 1).replaceAll('!', '/')}`;
    candidates.push({
      deviceNumber: await readText(other, 'dev'),
      directory: other,
      path: name,
      prefix: `${name} `,
    });
  };
  if ((await readText(directory, 'partition')) !== '') {
    await add(dirname(directory));
    return candidates;
  }
  for (const name of await readNames(directory)) {
    if ((await readText(directory, name, 'partition')) !== '') await add(join(directory, name));
  }
  return candidates;
}

async function mounts(candidates: readonly Candidate[], roots: SystemRoots): Promise<readonly DiskUser[]> {
  const users: DiskUser[] = [];
  for (const mount of await readMounts(roots)) {
    // btrfs and others have a number of their own; their source names the device.
    const deviceNumber = mount.deviceNumber.startsWith('0:')
      ? await deviceNumberOf(roots, mount.source)
      : mount.deviceNumber;
    for (const { prefix, path } of candidates.filter((one) => one.deviceNumber === deviceNumber)) {
      users.push({ kind: 'mounted', device: path, text: `${prefix}mounted on ${mount.mountPoint}` });
    }
  }
  return users;
}

/** A btrfs of several devices names only one of them in the list of mounts. */
async function btrfsMembers(
  candidates: readonly Candidate[],
  roots: SystemRoots,
): Promise<readonly DiskUser[]> {
  const users: DiskUser[] = [];
  for (const uuid of await readNames(roots.sysfs, 'fs', 'btrfs')) {
    for (const name of await readNames(roots.sysfs, 'fs', 'btrfs', uuid, 'devices')) {
      const deviceNumber = await readText(roots.sysfs, 'fs', 'btrfs', uuid, 'devices', name, 'dev');
      for (const { prefix, path } of candidates.filter((one) => one.deviceNumber === deviceNumber)) {
        users.push({ kind: 'mounted', device: path, text: `${prefix}part of the mounted btrfs ${uuid}` });
      }
    }
  }
  return users;
}

/** Paths in `/proc/swaps`, below its line of titles. */
async function swapPaths(roots: SystemRoots): Promise<readonly string[]> {
  const lines = (await readText(roots.proc, 'swaps')).split('\n').slice(1);
  return lines.map((line) => unescapeOctal(line.split(/\s/, 1)[0] ?? '')).filter((path) => path !== '');
}

async function swaps(candidates: readonly Candidate[], roots: SystemRoots): Promise<readonly DiskUser[]> {
  const users: DiskUser[] = [];
  for (const swap of await swapPaths(roots)) {
    const deviceNumber = await deviceNumberOf(roots, swap);
    if (deviceNumber === '') continue;
    for (const { prefix, path } of candidates.filter((one) => one.deviceNumber === deviceNumber)) {
      users.push({ kind: 'swap', device: path, text: `${prefix}used as swap` });
    }
  }
  return users;
}

async function holders(candidates: readonly Candidate[]): Promise<readonly DiskUser[]> {
  const users: DiskUser[] = [];
  for (const { directory, path, prefix } of candidates) {
    if (directory === '') continue;
    for (const holder of await readNames(directory, 'holders')) {
      const volume = await readText(directory, 'holders', holder, 'dm', 'name');
      const name = volume === '' ? holder : `${holder} (${volume})`;
      users.push({ kind: 'holder', device: path, text: `${prefix}held by ${name}` });
    }
  }
  return users;
}

interface LoopDevice {
  readonly name: string;
  readonly backingPath: string;
  /** The part of the file that it shows. */
  readonly startBytes: number;
  readonly endBytes: number;
}

async function loopDevices(roots: SystemRoots): Promise<readonly LoopDevice[]> {
  const devices: LoopDevice[] = [];
  for (const name of (await readNames(roots.sysfs, 'block')).filter((one) => one.startsWith('loop'))) {
    const backingPath = await readText(roots.sysfs, 'block', name, 'loop', 'backing_file');
    // A file that is the root of a file system without a place in the tree, as those of `attach`: nobody has it by a path.
    if (backingPath === '' || backingPath === '/') continue;
    const startBytes = Number(await readText(roots.sysfs, 'block', name, 'loop', 'offset')) || 0;
    const sectors = Number(await readText(roots.sysfs, 'block', name, 'size')) || 0;
    devices.push({ name, backingPath, startBytes, endBytes: startBytes + sectors * sysfsSectorBytes });
  }
  return devices;
}

async function loops(candidates: readonly Candidate[], roots: SystemRoots): Promise<readonly DiskUser[]> {
  const users: DiskUser[] = [];
  const mounted = await readMounts(roots);
  for (const { name, backingPath } of await loopDevices(roots)) {
    // Nobody keeps device files there.
    if (answeredElsewhere.test(mountOf(mounted, backingPath)?.type ?? '')) continue;
    const deviceNumber = await deviceNumberOf(roots, backingPath);
    if (deviceNumber === '') continue;
    for (const { prefix, path } of candidates.filter((one) => one.deviceNumber === deviceNumber)) {
      users.push({ kind: 'loop', device: path, text: `${prefix}attached as /dev/${name}` });
    }
  }
  return users;
}

/** Two loop devices over one piece of a file are one disk under two names, and neither keeps the other from being opened. */
async function loopTwins(candidates: readonly Candidate[], roots: SystemRoots): Promise<readonly DiskUser[]> {
  const users: DiskUser[] = [];
  const mounted = await readMounts(roots);
  const devices = await loopDevices(roots);
  for (const { directory, path, prefix } of candidates) {
    const own = devices.find((device) => directory.endsWith(`/${device.name}`));
    if (own === undefined) continue;
    for (const other of devices) {
      const apart = other.startBytes >= own.endBytes || own.startBytes >= other.endBytes;
      if (other === own || apart || !(await isOneFile(own.backingPath, other.backingPath, mounted))) continue;
      const text = `${prefix}its file ${own.backingPath} is attached as /dev/${other.name} too`;
      users.push({ kind: 'loop', device: path, text });
    }
  }
  return users;
}

/** A file is known by its inode: it may have several names, and the kernel tells the one it was opened by. */
async function findFileUsers(path: string, roots: SystemRoots): Promise<readonly DiskUser[]> {
  const users: DiskUser[] = [];
  const mounted = await readMounts(roots);
  for (const { name, backingPath } of await loopDevices(roots)) {
    if (await isOneFile(path, backingPath, mounted)) {
      users.push({ kind: 'loop', device: path, text: `attached as /dev/${name}` });
    }
  }
  for (const swap of await swapPaths(roots)) {
    if (await isOneFile(path, swap, mounted))
      users.push({ kind: 'swap', device: path, text: 'used as swap' });
  }
  return withoutRepeats(users);
}

/**
 * `other` is a path that the kernel tells, without links. A file system that may hang is asked about it only when `path` is
 * there too. In a chroot or container `path` may lie on no mount of the list: then it is not on that one either.
 */
async function isOneFile(path: string, other: string, mounted: readonly MountEntry[]): Promise<boolean> {
  const resolved = await resolvePath(path);
  if (resolved === other) return true;
  const [here, there] = [mountOf(mounted, resolved), mountOf(mounted, other)];
  const apart = there !== undefined && here?.deviceNumber !== there.deviceNumber;
  if (apart && answeredElsewhere.test(there.type)) return false;
  try {
    const [one, two] = [await stat(path, { bigint: true }), await stat(other, { bigint: true })];
    return one.dev === two.dev && one.ino === two.ino;
  } catch {
    return false;
  }
}

/** A file system mounted in two places of one view is told twice, the same place once. */
function withoutRepeats(users: readonly DiskUser[]): readonly DiskUser[] {
  return users.filter((user, at) => users.findIndex((one) => one.text === user.text) === at);
}

/** One line for messages: `/dev/sdb is in use: mounted on /home, /dev/sdb2 held by md0`. Empty for no users. */
export function explainUsers(path: string, users: readonly DiskUser[]): string {
  if (users.length === 0) return '';
  return `${path} is in use: ${users.map(({ text }) => text).join(', ')}`;
}
