import { createCipheriv } from 'node:crypto';
import { closeSync, fsyncSync, mkdtempSync, openSync, realpathSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const chunkBytes = 4 * 1024 * 1024;

/** A folder of the benchmark's own, and the file that all servers serve. */
export interface WorkFiles {
  readonly folder: string;
  readonly imagePath: string;
  remove(): void;
}

/**
 * Makes the file, filled with bytes that no file system can squeeze or skip, written out so that no write-back runs
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
  return { folder, imagePath, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

function fillWithNoise(path: string, sizeBytes: number): void {
  const noise = createCipheriv('aes-128-ctr', Buffer.alloc(16, 1), Buffer.alloc(16));
  const zeroes = Buffer.alloc(chunkBytes);
  const descriptor = openSync(path, 'wx');
  try {
    for (let at = 0; at < sizeBytes; at += chunkBytes) {
      writeSync(descriptor, noise.update(zeroes.subarray(0, Math.min(chunkBytes, sizeBytes - at))));
    }
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
