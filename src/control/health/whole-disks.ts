import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import type { DiskRole } from '../../health/health-facts.ts';
import { diskKey } from '../../health/health-record.ts';
import { identifyBlock } from '../../io/disk-identity.ts';
import {
  blockDirectory,
  formatDeviceNumber,
  readNames,
  readText,
  type SystemRoots,
} from '../../io/system-files.ts';

/** A disk that can be held in a hand, under a partition, a volume or a RAID. */
export interface WholeDisk {
  readonly role: DiskRole;
  /** `/dev/sda`. */
  readonly device: string;
  /** Its folder in sysfs. */
  readonly directory: string;
  /** Known again by it. */
  readonly key: string;
  /** Between it and the device there is a file: a loop device. */
  readonly underFile: boolean;
}

/** More under one device is a RAID as large as a cupboard: the first are looked at. */
export const wholeDisksMax = 8;

/** The disks under a block device, as far as sysfs tells; none under an image file, or where nothing is known. Never rejects. */
export async function wholeDisksUnder(
  role: DiskRole,
  path: string,
  roots: SystemRoots,
): Promise<readonly WholeDisk[]> {
  try {
    const facts = await stat(path, { bigint: true });
    return facts.isBlockDevice() ? await wholeDisksOf(role, path, formatDeviceNumber(facts.rdev), roots) : [];
  } catch {
    // Nothing to look at: the disk is away, or its description is.
    return [];
  }
}

/** The disks under the block device of this number (`8:1`). */
export async function wholeDisksOf(
  role: DiskRole,
  path: string,
  deviceNumber: string,
  roots: SystemRoots,
): Promise<readonly WholeDisk[]> {
  const identity = await identifyBlock(path, deviceNumber, roots);
  const numbers = [...new Set([identity.key, ...identity.wholeDiskKeys])].map(numberOf);
  const layers = await Promise.all(numbers.map((number) => layerOf(number, roots)));
  const found = layers.filter((layer) => layer !== undefined);
  const underFile = found.some(({ isLoop }) => isLoop);
  const disks = found.filter(({ isDisk }) => isDisk).slice(0, wholeDisksMax);
  return await Promise.all(disks.map((layer) => wholeDisk(role, layer, underFile, roots)));
}

interface Layer {
  readonly number: string;
  readonly directory: string;
  readonly isLoop: boolean;
  /** Something is plugged in there, and nothing else lies below it. */
  readonly isDisk: boolean;
}

function numberOf(key: string): string {
  return key.replace(/^block /, '');
}

async function layerOf(number: string, roots: SystemRoots): Promise<Layer | undefined> {
  const directory = await blockDirectory(roots, number);
  if (directory === undefined) return undefined;
  const isPartition = (await readText(directory, 'partition')) !== '';
  const isStacked = (await readNames(directory, 'slaves')).length > 0;
  const isPlugged = (await readNames(directory, 'device')).length > 0;
  return {
    number,
    directory,
    isLoop: (await readText(directory, 'loop', 'backing_file')) !== '',
    isDisk: !isPartition && !isStacked && isPlugged,
  };
}

async function wholeDisk(
  role: DiskRole,
  { number, directory }: Layer,
  underFile: boolean,
  roots: SystemRoots,
): Promise<WholeDisk> {
  // In sysfs a `/` of a name is a `!`.
  const device = `/dev/${basename(directory).replaceAll('!', '/')}`;
  const identity = await identifyBlock(device, number, roots);
  return { role, device, directory, key: diskKey(role, identity, device), underFile };
}
