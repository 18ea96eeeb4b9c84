import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { sectorBytes } from '../src/block/block-device.ts';
import { directAlignment } from '../src/linux/file-calls.ts';

/** The smallest piece of a file that can be read past the page cache: 512 bytes, or 4096 on some disks. */
export async function directBlockBytes(path: string): Promise<number> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_DIRECT);
    try {
      return Math.max(sectorBytes, directAlignment(file.fd)?.offsetBytes ?? sectorBytes);
    } finally {
      await file.close();
    }
  } catch {
    // No direct I/O here (tmpfs of older kernels): the page cache takes any sector.
    return sectorBytes;
  }
}
