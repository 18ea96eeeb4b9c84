/**
 * Which disk this is (M15), as far as the kernel and udev know, so that a replugged, renamed or swapped disk is
 * recognised, and so that two names of one disk are. Reads descriptions only, never the disk.
 */
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { DiskIdentity } from './identity-verdict.ts';
import { refuseZeroByte } from './open-error.ts';
import {
  blockDirectory,
  deviceNumberOf,
  formatDeviceNumber,
  readBytes,
  readMounts,
  readNames,
  readText,
  resolvePath,
  type SystemRoots,
  systemRoots,
} from './system-files.ts';

export {
  type DiskIdentity,
  describeIdentity,
  type IdentityVerdict,
  identityFromPairs,
  identityToPairs,
  onOneDisk,
  sameIdentity,
} from './identity-verdict.ts';

/** Unit of `size` and `start` in sysfs, whatever the disk's blocks are. */
const sysfsSectorBytes = 512;

/** How deep volumes lie on volumes before we stop looking: more is a loop in a broken description. */
const stackDepthMax = 16;

/**
 * Identity of a block device or a file. Rejects with the system's error when there is nothing at `path`, with an `OpenError`
 * for a name that none can have, and with a plain `Error` for what is neither.
 */
export async function identifyDevice(path: string, roots: SystemRoots = systemRoots): Promise<DiskIdentity> {
  refuseZeroByte(path);
  const facts = await stat(path, { bigint: true });
  if (facts.isBlockDevice())
    return identifyBlock(await resolvePath(path), formatDeviceNumber(facts.rdev), roots);
  if (facts.isFile()) {
    return identifyFile(
      await resolvePath(path),
      formatDeviceNumber(facts.dev),
      facts.ino,
      Number(facts.size),
      roots,
    );
  }
  throw new Error(`${path}: is neither a block device nor a regular file`);
}

/** Identity of the block device with this number (`8:1`), known to people as `path`. */
export async function identifyBlock(
  path: string,
  deviceNumber: string,
  roots: SystemRoots = systemRoots,
): Promise<DiskIdentity> {
  const directory = (await blockDirectory(roots, deviceNumber)) ?? '';
  const isPartition = (await readText(directory, 'partition')) !== '';
  const disk = isPartition ? dirname(directory) : directory;
  const number = async (...name: readonly string[]): Promise<number> => Number(await readText(...name)) || 0;
  const diskNumber = await readText(disk, 'dev');
  const udev = await readUdev(roots, deviceNumber);
  const diskUdev = isPartition ? await readUdev(roots, diskNumber) : udev;
  const wwn = await readWwn(disk, diskUdev);
  const serial = await readSerial(disk, diskUdev);
  const cache = await readText(disk, 'queue', 'write_cache');
  return {
    kind: 'block',
    path,
    strength: wwn === '' && serial === '' ? 'weak' : 'strong',
    key: blockKey(deviceNumber),
    wholeDiskKeys: await keysBelow(deviceNumber, roots),
    sizeBytes: (await number(directory, 'size')) * sysfsSectorBytes,
    logicalBlockBytes: await number(disk, 'queue', 'logical_block_size'),
    physicalBlockBytes: await number(disk, 'queue', 'physical_block_size'),
    wwn,
    serial,
    model: collapse((await readText(disk, 'device', 'model')) || (diskUdev.get('ID_MODEL') ?? '')),
    vendor: collapse((await readText(disk, 'device', 'vendor')) || (diskUdev.get('ID_VENDOR') ?? '')),
    partitionUuid: isPartition ? await readPartitionUuid(directory, udev) : '',
    partitionStartBytes: isPartition ? (await number(directory, 'start')) * sysfsSectorBytes : 0,
    rotational: (await readText(disk, 'queue', 'rotational')) === '1',
    writeCache: cache === 'write back' || cache === 'write through' ? cache : 'unknown',
  };
}

async function identifyFile(
  path: string,
  fileSystemNumber: string,
  inode: bigint,
  sizeBytes: number,
  roots: SystemRoots,
): Promise<DiskIdentity> {
  const below = await fileSystemDevice(path, fileSystemNumber, roots);
  return {
    kind: 'file',
    path,
    strength: 'weak',
    key: `file ${fileSystemNumber} ${inode}`,
    wholeDiskKeys: below === '' ? [] : await keysBelow(below, roots),
    sizeBytes,
    logicalBlockBytes: 0,
    physicalBlockBytes: 0,
    wwn: '',
    serial: '',
    model: '',
    vendor: '',
    partitionUuid: '',
    partitionStartBytes: 0,
    rotational: false,
    writeCache: 'unknown',
  };
}

function blockKey(deviceNumber: string): string {
  return `block ${deviceNumber}`;
}

function collapse(text: string): string {
  return text.replace(/[\s_]+/g, ' ').trim();
}

/** `E:ID_SERIAL=…` lines of udev's record of a device. */
export async function readUdev(
  roots: SystemRoots,
  deviceNumber: string,
): Promise<ReadonlyMap<string, string>> {
  const properties = new Map<string, string>();
  if (deviceNumber === '') return properties;
  for (const line of (await readText(roots.udevData, `b${deviceNumber}`)).split('\n')) {
    const [, name, value] = /^E:([^=]+)=(.*)$/.exec(line) ?? [];
    if (name !== undefined && value !== undefined) properties.set(name, value);
  }
  return properties;
}

/** One spelling for what the kernel calls `naa.5000…` or `eui.0025…` and udev `0x5000…`. */
function normalWwn(text: string): string {
  return collapse(text)
    .replace(/^(naa\.|eui\.|uuid\.|0x)/i, '')
    .toLowerCase();
}

async function readWwn(disk: string, udev: ReadonlyMap<string, string>): Promise<string> {
  // In this order: SCSI, NVMe, device-mapper, md. Each name exists for one kind of disk only.
  for (const name of ['device/wwid', 'wwid', 'dm/uuid', 'md/uuid']) {
    const found = await readText(disk, name);
    if (found !== '') return normalWwn(found);
  }
  return normalWwn(udev.get('ID_WWN_WITH_EXTENSION') ?? udev.get('ID_WWN') ?? '');
}

/** SCSI keeps the serial in vital product data page 0x80: four bytes of header, the last two of them the length. */
async function readSerial(disk: string, udev: ReadonlyMap<string, string>): Promise<string> {
  const page = await readBytes(disk, 'device', 'vpd_pg80');
  if (page.length > 4 && page[1] === 0x80) {
    const length = (page[2]! << 8) | page[3]!;
    const text = collapse(
      new TextDecoder('latin1').decode(page.subarray(4, 4 + length)).replace(/\p{Cc}/gu, ''),
    );
    if (text !== '') return text;
  }
  const told = (await readText(disk, 'device', 'serial')) || (await readText(disk, 'serial'));
  return collapse(told || (udev.get('ID_SERIAL_SHORT') ?? udev.get('ID_SCSI_SERIAL') ?? ''));
}

async function readPartitionUuid(directory: string, udev: ReadonlyMap<string, string>): Promise<string> {
  const told = /^PARTUUID=(.*)$/m.exec(await readText(directory, 'uevent'))?.[1];
  return (told ?? udev.get('ID_PART_ENTRY_UUID') ?? '').toLowerCase();
}

/** The block device that carries a file system; btrfs and others hide it behind a number of their own. */
async function fileSystemDevice(path: string, deviceNumber: string, roots: SystemRoots): Promise<string> {
  if (!deviceNumber.startsWith('0:')) return deviceNumber;
  let best = { mountPoint: '', source: '' };
  for (const mount of await readMounts(roots)) {
    const prefix = mount.mountPoint.endsWith('/') ? mount.mountPoint : `${mount.mountPoint}/`;
    // The later of two mounts on one place hides the earlier.
    if (path.startsWith(prefix) && mount.mountPoint.length >= best.mountPoint.length) best = mount;
  }
  return deviceNumberOf(roots, best.source);
}

/** Everything a block device stands on, itself not counted unless it is a whole disk. */
async function keysBelow(start: string, roots: SystemRoots): Promise<readonly string[]> {
  const seen = new Set<string>();
  let layer = [start];
  for (let depth = 0; depth < stackDepthMax && layer.length > 0; depth += 1) {
    const next: string[] = [];
    for (const deviceNumber of layer) {
      if (seen.has(deviceNumber)) continue;
      seen.add(deviceNumber);
      next.push(...(await deviceNumbersBelow(deviceNumber, roots)));
    }
    layer = next;
  }
  if ((await deviceNumbersBelow(start, roots)).length > 0) seen.delete(start);
  return [...seen].map(blockKey);
}

/** One step down: a partition's disk, a volume's members, the file system's device below a loop device. */
async function deviceNumbersBelow(deviceNumber: string, roots: SystemRoots): Promise<readonly string[]> {
  const directory = await blockDirectory(roots, deviceNumber);
  if (directory === undefined) return [];
  if ((await readText(directory, 'partition')) !== '') return [await readText(dirname(directory), 'dev')];
  const members = await Promise.all(
    (await readNames(directory, 'slaves')).map((name) => readText(directory, 'slaves', name, 'dev')),
  );
  const backing = await readText(directory, 'loop', 'backing_file');
  if (backing !== '') members.push(await backingDevice(backing, roots));
  return members.filter((member) => member !== '');
}

async function backingDevice(path: string, roots: SystemRoots): Promise<string> {
  const direct = await deviceNumberOf(roots, path);
  if (direct !== '') return direct;
  try {
    const facts = await stat(path, { bigint: true });
    return await fileSystemDevice(await resolvePath(path), formatDeviceNumber(facts.dev), roots);
  } catch {
    return '';
  }
}
