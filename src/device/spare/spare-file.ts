import { close, constants, existsSync, open } from 'node:fs';
import { stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { createImage } from '../../io/create-image.ts';
import { allocateFile } from '../../linux/file-calls.ts';
import { SetupError } from '../setup-error.ts';
import { setupErrorOf } from '../setup-failure.ts';
import type { OpenedDisk } from '../stack/disks.ts';

const openAsync = promisify(open);
const closeAsync = promisify(close);

/** Unit of `st_blocks`, whatever the file system's blocks are (man 3 stat). */
const statBlockBytes = 512;

/**
 * M17: an image file is allocated in full before it becomes a spare. A sparse one would run out of room in the very
 * moment a sector has to be saved. A spare that is a disk is left as it is.
 */
export async function allocateSpareFile(spare: OpenedDisk): Promise<void> {
  if (spare.identity.kind !== 'file') return;
  await refuseWithoutRoom(spare);
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

/**
 * R27: a spare image that got holes, copied by a tool that makes them, would run out of room when a sector must be saved: it
 * is allocated again. Where that cannot be done the device is served all the same, for what is on the spare is needed;
 * resolves to notes that say so.
 */
export async function fillSpareHoles(spare: OpenedDisk): Promise<readonly string[]> {
  if (spare.identity.kind !== 'file') return [];
  const { blocks } = await stat(spare.path);
  if (blocks * statBlockBytes >= spare.device.geometry.sizeBytes) return [];
  try {
    await allocateSpareFile(spare);
    return [`the spare ${spare.path} had holes and was allocated in full again`];
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    return [`the spare has holes, and a sector may find no room there: ${error.message}`];
  }
}

/** Asked before: an allocation that fails half-way leaves the file system full, and nobody knows any more what to give back. */
async function refuseWithoutRoom(spare: OpenedDisk): Promise<void> {
  const { blocks } = await stat(spare.path);
  const room = await statfs(spare.path);
  const missingBytes = spare.device.geometry.sizeBytes - blocks * statBlockBytes;
  const freeBytes = room.bavail * room.bsize;
  // Some file systems do not tell how large they are.
  if (room.blocks === 0 || missingBytes <= freeBytes) return;
  throw new SetupError(
    'failed',
    `${spare.path}: cannot be allocated in full: it lacks ${missingBytes} bytes, its file system has ${freeBytes} free`,
  );
}

/** Makes an image file for a spare, allocated in full; a file that is there already is never touched. */
export async function makeSpareFile(path: string, sizeBytes: number): Promise<void> {
  const folder = dirname(path);
  if (!existsSync(folder))
    throw new SetupError('not-found', `${path}: there is no folder ${folder}; make it first`);
  try {
    await createImage(path, sizeBytes);
  } catch (error) {
    throw setupErrorOf(error, path);
  }
}
