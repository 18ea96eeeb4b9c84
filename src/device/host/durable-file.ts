import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** Writes the pieces of one file. */
export type FileWriter = (write: (bytes: Uint8Array) => Promise<void>) => Promise<void>;

/**
 * A whole file in the place of the old one, or the old one: written beside its place, fsync, renamed, folder fsync. Of several that
 * write one file the last rename wins. Rejects with the system's error, or when it would be larger than `bytesMax`.
 */
export async function replaceFile(
  folder: string,
  name: string,
  bytesMax: number,
  writer: FileWriter,
): Promise<void> {
  const unfinished = join(folder, `.${name}.new`);
  try {
    await writeDurably(unfinished, bytesMax, writer);
    await rename(unfinished, join(folder, name));
  } catch (error) {
    await rm(unfinished, { force: true }).catch(() => undefined);
    throw error;
  }
  await syncFolder(folder);
}

/** The bytes of a file; undefined where there is none, or a larger one than `bytesMax`. Rejects with the system's error. */
export async function readWhole(path: string, bytesMax: number): Promise<Uint8Array | undefined> {
  const handle = await openIfThere(path);
  if (handle === undefined) return undefined;
  try {
    return (await handle.stat()).size > bytesMax ? undefined : await handle.readFile();
  } finally {
    await handle.close();
  }
}

/** Undefined where there is no such file. Rejects with the system's error. */
export async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}

export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writeDurably(path: string, bytesMax: number, writer: FileWriter): Promise<void> {
  const handle = await open(path, 'w', 0o600);
  try {
    let written = 0;
    await writer(async (bytes) => {
      written += bytes.length;
      if (written > bytesMax) throw new Error(`${path}: would be larger than ${bytesMax} bytes`);
      await handle.writeFile(bytes);
    });
    await handle.sync();
  } finally {
    await handle.close();
  }
}
