import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { readUdev } from './disk-identity.ts';
import {
  blockDirectory,
  formatDeviceNumber,
  readText,
  type SystemRoots,
  systemRoots,
} from './system-files.ts';

export interface UdevNames {
  /** Each alone names the disk: `serial-WDC_WD10_1234`, `serial-…-part1`, `dm-LVM-…`, `md-…`. None for a file. */
  readonly names: readonly string[];
  /** Writing `change` to it makes udev look at the disk again. */
  readonly ueventPath: string;
}

/** What udev calls a block device, in its own spelling, which its rules can match. Rejects with the system's error. */
export async function udevNames(path: string, roots: SystemRoots = systemRoots): Promise<UdevNames> {
  const facts = await stat(path);
  if (!facts.isBlockDevice()) return { names: [], ueventPath: '' };
  const deviceNumber = formatDeviceNumber(BigInt(facts.rdev));
  return await udevNamesOfNumber(deviceNumber, roots);
}

/** As `udevNames`, of the block device with this number (`8:1`). */
export async function udevNamesOfNumber(
  deviceNumber: string,
  roots: SystemRoots = systemRoots,
): Promise<UdevNames> {
  const directory = (await blockDirectory(roots, deviceNumber)) ?? '';
  const ueventPath = join(directory, 'uevent');
  const partition = await readText(directory, 'partition');
  const disk = partition === '' ? directory : dirname(directory);
  const [own, whole] = [
    await readUdev(roots, deviceNumber),
    await readUdev(roots, await readText(disk, 'dev')),
  ];
  const serial = whole.get('ID_SERIAL') ?? '';
  const names = [
    serial === '' ? '' : `serial-${serial}${partition === '' ? '' : `-part${partition}`}`,
    named('dm', own.get('DM_UUID')),
    named('md', own.get('MD_UUID')),
  ];
  // One that is no name of a file cannot be a mark.
  return { names: names.filter((name) => name !== '' && !name.includes('/')), ueventPath };
}

function named(kind: string, value: string | undefined): string {
  return value === undefined || value === '' ? '' : `${kind}-${value}`;
}
