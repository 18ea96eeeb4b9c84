import { close, constants, ftruncate, open, unlink } from 'node:fs';
import { promisify } from 'node:util';
import { allocateFile } from '../linux/file-calls.ts';
import { asOpenError, OpenError } from './open-error.ts';

const openAsync = promisify(open);
const closeAsync = promisify(close);
const truncateAsync = promisify(ftruncate);
const unlinkAsync = promisify(unlink);

/**
 * Makes an image file of exactly `sizeBytes`, allocated in full (M17): a spare that runs out of room when it is needed is
 * none. An existing file is never touched.
 *
 * @throws OpenError; nothing is left behind then.
 */
export async function createImage(path: string, sizeBytes: number): Promise<void> {
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
  let fd: number;
  try {
    fd = await openAsync(path, flags, 0o600);
  } catch (error) {
    throw asOpenError(path, error, 'create');
  }
  try {
    if (!(await allocateFile(fd, sizeBytes))) {
      throw new OpenError(
        'OPEN_NO_SPACE',
        path,
        `no room for ${sizeBytes} bytes, or no allocation on this file system`,
      );
    }
    await truncateAsync(fd, sizeBytes);
  } catch (error) {
    await unlinkAsync(path);
    throw asOpenError(path, error, 'allocate');
  } finally {
    await closeAsync(fd);
  }
}
