import { createCipheriv } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  realpathSync,
  rmSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

const chunkBytes = 4 * 1024 * 1024;
/**
 * Written page by page, as a disk image grows in use: a file of large writes lies in large folios of the page cache, and a
 * 4 KiB write into one of them costs the kernel 40 us instead of 4 (ext4, Linux 6.18), whoever serves it.
 */
const pageBytes = 4096;
/** A million remaps, each second block of 4 KiB, behind 1 GiB. */
const largerTimes = 10;

/** A folder of the benchmark's own, and the file that all servers serve. */
export interface WorkFiles {
  readonly folder: string;
  readonly imagePath: string;
  /**
   * Another file of the same bytes, written the same way, for a device that lets nobody else have its main; `larger`: with holes
   * behind them. Its path.
   */
  readonly makeCopy: (name: string, larger: boolean) => string;
  remove(): void;
}

/**
 * Makes the file of a multiple of 4 MiB, filled with bytes that no file system can squeeze or skip, written out so that no write-back runs
 * during the measurement, and still in the page cache, because it was just written.
 */
export function makeWorkFiles(directory: string, imageBytes: number): WorkFiles {
  const folder = mkdtempSync(join(realpathSync(directory), 'dm-remap-bench-'));
  const imagePath = join(folder, 'image');
  try {
    fillWithNoise(imagePath, imageBytes);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  return {
    folder,
    imagePath,
    makeCopy: (name, larger) => {
      const path = join(folder, name);
      fillWithNoise(path, imageBytes);
      if (larger) truncateSync(path, imageBytes * largerTimes);
      return path;
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function fillWithNoise(path: string, sizeBytes: number): void {
  const noise = createCipheriv('aes-128-ctr', Buffer.alloc(16, 1), Buffer.alloc(16));
  const zeroes = Buffer.alloc(chunkBytes);
  const descriptor = openSync(path, 'wx');
  try {
    for (let at = 0; at < sizeBytes; at += chunkBytes) {
      const chunk = noise.update(zeroes);
      for (let from = 0; from < chunkBytes; from += pageBytes) writeSync(descriptor, chunk, from, pageBytes);
    }
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
