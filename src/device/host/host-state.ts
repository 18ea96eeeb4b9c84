import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { decodeTableCopy, decodeTableCopyHeader, type TableCopy } from '../../metadata/table-copy.ts';
import type { TableCopyHeader } from '../../metadata/table-copy-header.ts';
import { type FileWriter, openIfThere, readWhole, replaceFile, syncFolder } from './durable-file.ts';
import { decodeKnownSession, encodeKnownSession, type KnownSession } from './known-session.ts';

/**
 * What a host remembers of its devices, by UUID, advisory: a device is served without it.
 *
 *     /var/lib/dm-remap/         0700
 *       UUID/
 *         session                the last acknowledged sequence and session (M12); under 1 KiB
 *         table                  a copy of the table (M13); about 10 bytes a run of granules
 *         events.jsonl           what happened to it, written by `log/event-log.ts`; events.jsonl.1 is the piece before it
 *
 * Each file but the last appears whole: written beside its place, fsync, renamed, folder fsync.
 */

/** Folders of devices. A full directory takes no new device, and says so; nothing is thrown away behind anybody's back. */
export const rememberedDevicesMax = 1024;
/** A table of a million runs takes about 10 MiB. */
export const tableCopyBytesMax: number = 128 * 1024 * 1024;
/** A header is a name and two identities: far below the superblock's 3712 bytes of properties, as JSON. */
const headerBytesMax = 65_536;
const sessionBytesMax = 4096;

const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export class HostState {
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
  }

  /** Undefined when nothing is known, or what is known is damaged. Rejects with the system's error when it cannot be read. */
  async readSession(uuid: string): Promise<KnownSession | undefined> {
    const bytes = await this.#read(uuid, 'session', sessionBytesMax);
    const known = bytes === undefined ? undefined : decodeKnownSession(new TextDecoder().decode(bytes));
    return known?.uuid === uuid ? known : undefined;
  }

  /** The copy, a clause about what is wrong with it, or undefined when there is none. */
  async readTable(uuid: string): Promise<TableCopy | string | undefined> {
    const bytes = await this.#read(uuid, 'table', tableCopyBytesMax);
    if (bytes === undefined) return undefined;
    const copy = decodeTableCopy(bytes);
    if (typeof copy === 'string') return copy;
    return copy.header.uuid === uuid ? copy : 'is of another device';
  }

  /** The headers of all copies that can be read, in the order of names. */
  async listTables(): Promise<readonly TableCopyHeader[]> {
    const headers: TableCopyHeader[] = [];
    for (const uuid of await this.#uuids()) {
      // What cannot be read of one device must not keep the others from being found.
      const bytes = await this.#read(uuid, 'table', headerBytesMax, 'cut').catch(ignoreSystemError);
      const header = bytes === undefined ? undefined : decodeTableCopyHeader(bytes);
      if (header !== undefined && typeof header !== 'string' && header.uuid === uuid) headers.push(header);
    }
    return headers.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async writeSession(session: KnownSession): Promise<void> {
    const bytes = new TextEncoder().encode(encodeKnownSession(session));
    await this.#replace(session.uuid, 'session', (write) => write(bytes));
  }

  async writeTable(uuid: string, writer: FileWriter): Promise<void> {
    await this.#replace(uuid, 'table', writer);
  }

  /** Forgets a device that is no more. */
  async forget(uuid: string): Promise<void> {
    await rm(this.folderOf(uuid), { recursive: true, force: true });
    if (await isFolder(this.directory)) await syncFolder(this.directory);
  }

  /** What is remembered of one device, and its event log; there or not. */
  folderOf(uuid: string): string {
    return join(this.directory, uuid);
  }

  async #uuids(): Promise<readonly string[]> {
    if (!(await isFolder(this.directory))) return [];
    return (await readdir(this.directory)).filter((name) => uuidPattern.test(name));
  }

  async #read(
    uuid: string,
    name: string,
    bytesMax: number,
    longer: 'refuse' | 'cut' = 'refuse',
  ): Promise<Uint8Array | undefined> {
    const path = join(this.folderOf(uuid), name);
    if (longer === 'refuse') return await readWhole(path, bytesMax);
    const handle = await openIfThere(path);
    if (handle === undefined) return undefined;
    try {
      const { buffer, bytesRead } = await handle.read(new Uint8Array(bytesMax), 0, bytesMax, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  }

  async #replace(uuid: string, name: string, writer: FileWriter): Promise<void> {
    await this.makeFolder(uuid);
    await replaceFile(this.folderOf(uuid), name, tableCopyBytesMax, writer);
  }

  /** Rejects with the system's error, or where there are `rememberedDevicesMax` already. */
  async makeFolder(uuid: string): Promise<void> {
    const folder = this.folderOf(uuid);
    if (await isFolder(folder)) return;
    await makeFolders(this.directory);
    if ((await this.#uuids()).length >= rememberedDevicesMax) {
      throw new Error(
        `${this.directory}: remembers ${rememberedDevicesMax} devices already; remove folders of devices that are no more`,
      );
    }
    await mkdir(folder, { mode: 0o700 }).catch((error: unknown) => {
      if (errorCode(error) !== 'EEXIST') throw error;
    });
    await syncFolder(this.directory);
  }
}

/** Not by `recursive` of Node 20, which tries forever where nobody can make a folder: in /proc, for one. */
async function makeFolders(path: string): Promise<void> {
  if (await isFolder(path)) return;
  const above = dirname(path);
  if (above !== path) await makeFolders(above);
  await mkdir(path, { mode: 0o700 }).catch((error: unknown) => {
    if (errorCode(error) !== 'EEXIST') throw error;
  });
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return false;
    throw error;
  }
}

function ignoreSystemError(error: unknown): undefined {
  if (errorCode(error) === undefined) throw error;
}

function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
