import { close, constants, open } from 'node:fs';
import { promisify } from 'node:util';
import { createImage } from '../io/create-image.ts';
import { allocateFile } from '../linux/file-calls.ts';
import type { OpenedDisk } from './disks.ts';
import { SetupError } from './setup-error.ts';
import { setupErrorOf } from './setup-failure.ts';

const openAsync = promisify(open);
const closeAsync = promisify(close);

/**
 * M17: an image file is allocated in full before it becomes a spare. A sparse one would run out of room in the very
 * moment a sector has to be saved. A spare that is a disk is left as it is.
 */
export async function allocateSpareFile(spare: OpenedDisk): Promise<void> {
  if (spare.device.kind !== 'file') return;
  const descriptor = await openAsync(spare.path, constants.O_RDWR);
  try {
    if (await allocateFile(descriptor, spare.device.geometry.sizeBytes)) return;
  } finally {
    await closeAsync(descriptor);
  }
  throw new SetupError(
    'failed',
    `${spare.path}: cannot be allocated in full: its file system has no room for it, or cannot allocate`,
  );
}

/** Makes an image file for a spare, allocated in full; a file that is there already is never touched. */
export async function makeSpareFile(path: string, sizeBytes: number): Promise<void> {
  try {
    await createImage(path, sizeBytes);
  } catch (error) {
    throw setupErrorOf(error, path);
  }
}
