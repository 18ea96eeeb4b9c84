import { fstat, stat } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { identifyBlock, identifyDevice } from './disk-identity.ts';
import { type DiskIdentity, sameIdentity } from './identity-verdict.ts';
import {
  blockDirectory,
  formatDeviceNumber,
  readText,
  type SystemRoots,
  systemRoots,
} from './system-files.ts';

const statAsync = promisify(stat);
const fstatAsync = promisify(fstat);

/** A disk from when it was plugged in until it was pulled out, or a file from its creation to its end. */
export interface DiskAttachment {
  readonly identity: DiskIdentity;
  /**
   * What no other attachment has, until the next boot: the kernel's `diskseq` of a disk, a file's time of birth. Empty when
   * unknown.
   */
  readonly instance: string;
}

/** What is at `path` now. Rejects with the system's error when there is nothing, with a plain `Error` for what is no disk. */
export async function attachmentAt(path: string, roots: SystemRoots = systemRoots): Promise<DiskAttachment> {
  const identity = await identifyDevice(path, roots);
  const facts = await statAsync(path, { bigint: true });
  const instance = facts.isBlockDevice()
    ? await diskSequence(formatDeviceNumber(facts.rdev), roots)
    : `${facts.birthtimeNs}`;
  return { identity, instance };
}

/** What a descriptor stands on: a disk, one that has gone, or a file, which cannot go. */
export type DescriptorFacts = DiskAttachment | 'gone' | { readonly fileBytes: number };

export async function attachmentOfDescriptor(
  fd: number,
  path: string,
  roots: SystemRoots = systemRoots,
): Promise<DescriptorFacts> {
  const facts = await fstatAsync(fd, { bigint: true });
  if (!facts.isBlockDevice()) return { fileBytes: Number(facts.size) };
  const deviceNumber = formatDeviceNumber(facts.rdev);
  if ((await blockDirectory(roots, deviceNumber)) === undefined) return 'gone';
  return {
    identity: await identifyBlock(path, deviceNumber, roots),
    instance: await diskSequence(deviceNumber, roots),
  };
}

/**
 * Why `found` is not what was recorded, or undefined when it is, proven: by WWN or serial (M15), or because it never went
 * away. What merely looks alike is another disk: writing to a wrong one is worse than not finding the right one.
 */
export function differenceOf(recorded: DiskAttachment, found: DiskAttachment): string | undefined {
  const { verdict, reasons } = sameIdentity(recorded.identity, found.identity);
  if (verdict === 'same') return undefined;
  if (verdict === 'different') return reasons.join(', ');
  const stayed =
    recorded.instance !== '' &&
    recorded.instance === found.instance &&
    recorded.identity.key === found.identity.key;
  return stayed ? undefined : reasons.join(', ');
}

/** Of the whole disk: a number that no two disks have in one boot, new for each coming (linux ≥ 5.15). */
async function diskSequence(deviceNumber: string, roots: SystemRoots): Promise<string> {
  const directory = await blockDirectory(roots, deviceNumber);
  if (directory === undefined) return '';
  const isPartition = (await readText(directory, 'partition')) !== '';
  return readText(isPartition ? dirname(directory) : directory, 'diskseq');
}
