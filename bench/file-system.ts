import { readFileSync } from 'node:fs';
import { BenchRefusal } from './tools.ts';

/** Where a folder lies. */
export interface FileSystem {
  readonly type: string;
  readonly mountPoint: string;
}

/** File systems without a disk: every figure from them is about something else. */
const memoryTypes: ReadonlySet<string> = new Set(['tmpfs', 'ramfs', 'devtmpfs']);

/** The file system of a folder, by /proc/self/mountinfo (man 5 proc). */
export function fileSystemOf(
  folder: string,
  mountInfo: string = readFileSync('/proc/self/mountinfo', 'utf8'),
): FileSystem {
  let found: FileSystem = { type: 'unknown', mountPoint: '/' };
  for (const line of mountInfo.split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const mountPoint = before.split(' ')[4]?.replaceAll('\\040', ' ');
    const type = after.split(' ')[0];
    if (mountPoint === undefined || type === undefined) continue;
    const below = mountPoint === '/' || folder === mountPoint || folder.startsWith(`${mountPoint}/`);
    // A later mount on the same place hides the one before it.
    if (below && mountPoint.length >= found.mountPoint.length) found = { type, mountPoint };
  }
  return found;
}

/** Throws `BenchRefusal` for a file system in memory. */
export function requireDiskFileSystem(folder: string): FileSystem {
  const fileSystem = fileSystemOf(folder);
  if (!memoryTypes.has(fileSystem.type)) return fileSystem;
  throw new BenchRefusal(
    `${folder} is on ${fileSystem.type}, which is memory; name a folder on a disk: npm run bench -- --directory DIR`,
  );
}
