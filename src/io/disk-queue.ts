import { dirname } from 'node:path';
import {
  blockDirectory,
  formatDeviceNumber,
  readText,
  type SystemRoots,
  systemRoots,
} from './system-files.ts';

/** What the request queue of a block device says about itself: Documentation/ABI/stable/sysfs-block. */
export interface DiskQueue {
  /** R8: `write_cache`; an operator may have changed it since the boot. Taken for true where nobody says. */
  readonly volatileCache: boolean;
  /** `discard_max_bytes` is not 0. Taken for true where nobody says: the first refusal tells. */
  readonly discard: boolean;
  /** `write_zeroes_max_bytes` is not 0: the disk zeroes by itself, without being sent the zeros. */
  readonly zeroes: boolean;
}

/** The queue of the block device with this `st_rdev`; a partition has its disk's. Asks sysfs only, never the disk. */
export async function readDiskQueue(rdev: number, roots: SystemRoots = systemRoots): Promise<DiskQueue> {
  const directory = (await blockDirectory(roots, formatDeviceNumber(BigInt(rdev)))) ?? '';
  const isPartition = (await readText(directory, 'partition')) !== '';
  const disk = isPartition ? dirname(directory) : directory;
  const ask = (name: string): Promise<string> => readText(disk, 'queue', name);
  return {
    volatileCache: (await ask('write_cache')) !== 'write through',
    discard: (await ask('discard_max_bytes')) !== '0',
    zeroes: !['', '0'].includes(await ask('write_zeroes_max_bytes')),
  };
}
