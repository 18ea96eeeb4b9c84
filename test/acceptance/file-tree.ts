import assert from 'node:assert/strict';
import { createCipheriv, createHash } from 'node:crypto';
import { mkdir, open, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';

const kibibyte = 1024;
const sectorBytes = 512;
/** What is read by itself where the whole of a file cannot be: a page. */
const pieceBytes = 4096;
const sizes = [100, 4096, 5000, 70_000, 300 * kibibyte, 1024 * kibibyte + 17] as const;

/** Of a file that cannot be read as a whole, or at all. */
export interface DamagedFile {
  readonly path: string;
  /** Bytes of each piece that gives an error, or has zeros in a sector; undefined: it cannot even be opened. */
  readonly unreadable: readonly (readonly [offset: number, length: number])[] | undefined;
}

export interface TreeCheck {
  readonly equal: number;
  readonly damaged: readonly DamagedFile[];
}

interface TreeFile {
  readonly sizeBytes: number;
  readonly version: number;
}

/**
 * Files whose bytes follow from their path and version. It never blocks the thread: that may be what serves the disk.
 *
 * With `lossy`, for a disk that loses sectors, a file whose writing fails is in doubt and nobody's business any more.
 */
export class FileTree {
  readonly #files = new Map<string, TreeFile>();
  readonly #random: SeededRandom;
  readonly #lossy: boolean;
  /** Written, and not yet known to be on the disk. */
  readonly #unsynced = new Set<string>();
  #next = 0;
  #doubtful = 0;

  constructor(seed: string, { lossy }: { readonly lossy: boolean }) {
    this.#random = new SeededRandom(seed);
    this.#lossy = lossy;
  }

  get fileCount(): number {
    return this.#files.size;
  }

  /** Files that somebody was told about while they were written. */
  get doubtful(): number {
    return this.#doubtful;
  }

  get paths(): readonly string[] {
    return [...this.#files.keys()];
  }

  /** Makes files until there are so many bytes of them, writes over every fourth old one, and removes every eighth. */
  async work(root: string, newBytes: number): Promise<void> {
    for (const path of this.paths) {
      if (this.#random.chance(1 / 8)) await this.#remove(root, path);
      else if (this.#random.chance(1 / 4)) await this.#write(root, path, this.#files.get(path)!.sizeBytes);
    }
    for (let written = 0; written < newBytes; ) {
      const sizeBytes = sizes[this.#next % sizes.length]!;
      await this.#write(root, join(`folder-${this.#next % 9}`, `file-${this.#next}`), sizeBytes);
      this.#next += 1;
      written += sizeBytes;
    }
  }

  /**
   * Reads all of it. Bytes that are not those that were written fail the test; errors are collected, and on a lossy disk
   * sectors of zeros, which somebody may have asked for.
   */
  async check(root: string): Promise<TreeCheck> {
    const damaged: DamagedFile[] = [];
    for (const [path, file] of this.#files) {
      const bytes = await readWhole(join(root, path), file.sizeBytes).catch(() => undefined);
      const wanted = bytesOf(path, file);
      if (bytes?.equals(wanted) === true) continue;
      if (bytes !== undefined && !this.#lossy) assertBytes(bytes, wanted, path, 0);
      damaged.push({ path, unreadable: await unreadablePieces(root, path, file) });
    }
    return { equal: this.#files.size - damaged.length, damaged };
  }

  /**
   * After `sync -f`: all is on the disk; or, when that failed, nobody knows of what was written since the last one. A file
   * system that shuts down over a lost block of its own forgets what it had not yet written, and says so here.
   */
  settle(isSynced: boolean): void {
    assert.ok(isSynced || this.#lossy, 'sync failed');
    if (!isSynced) {
      for (const path of this.#unsynced) this.#files.delete(path);
      this.#doubtful += this.#unsynced.size;
    }
    this.#unsynced.clear();
  }

  /** The damaged are known; they are not looked at again. */
  forget(damaged: readonly DamagedFile[]): void {
    for (const { path } of damaged) this.#files.delete(path);
  }

  async #write(root: string, path: string, sizeBytes: number): Promise<void> {
    const file = { sizeBytes, version: (this.#files.get(path)?.version ?? 0) + 1 };
    const isNew = file.version === 1;
    this.#unsynced.add(path);
    await this.#told(path, async () => {
      await mkdir(dirname(join(root, path)), { recursive: true });
      const handle = await open(join(root, path), isNew ? 'wx' : 'r+');
      try {
        await handle.writeFile(bytesOf(path, file));
        if (this.#random.chance(0.5)) {
          await handle.sync();
          this.#unsynced.delete(path);
        }
      } finally {
        await handle.close();
      }
      this.#files.set(path, file);
    });
  }

  async #remove(root: string, path: string): Promise<void> {
    this.#unsynced.delete(path);
    await this.#told(path, async () => {
      await unlink(join(root, path));
      this.#files.delete(path);
    });
  }

  async #told(path: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!this.#lossy) throw error;
      this.#doubtful += 1;
      this.#files.delete(path);
    }
  }
}

/** Node's own `readFile` takes a short read, which is what comes before an error, for the end. */
async function readWhole(path: string, sizeBytes: number): Promise<Buffer> {
  const handle = await open(path, 'r');
  try {
    const bytes = Buffer.alloc(sizeBytes + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await handle.read(bytes, length, bytes.length - length, length);
      if (bytesRead === 0) return bytes.subarray(0, length);
      length += bytesRead;
    }
  } finally {
    await handle.close();
  }
}

async function unreadablePieces(
  root: string,
  path: string,
  file: TreeFile,
): Promise<DamagedFile['unreadable']> {
  const handle = await open(join(root, path), 'r').catch(() => undefined);
  if (handle === undefined) return undefined;
  try {
    const expected = bytesOf(path, file);
    const unreadable: (readonly [number, number])[] = [];
    for (let offset = 0; offset < file.sizeBytes; offset += pieceBytes) {
      const wanted = expected.subarray(offset, offset + pieceBytes);
      const piece = Buffer.alloc(wanted.length);
      const read = await handle.read(piece, 0, piece.length, offset).catch(() => undefined);
      if (read === undefined) unreadable.push([offset, wanted.length]);
      else if (!piece.subarray(0, read.bytesRead).equals(wanted)) {
        assertBytes(withoutZeroes(piece.subarray(0, read.bytesRead), wanted), wanted, path, offset);
        unreadable.push([offset, wanted.length]);
      }
    }
    return unreadable;
  } finally {
    await handle.close();
  }
}

/** What was found, with what was wanted in sectors that are all zeros. */
function withoutZeroes(found: Buffer, wanted: Buffer): Buffer {
  const bytes = Buffer.from(found);
  for (let at = 0; at < bytes.length; at += sectorBytes) {
    const sector = bytes.subarray(at, at + sectorBytes);
    if (sector.every((byte) => byte === 0)) wanted.copy(bytes, at, at, at + sector.length);
  }
  return bytes;
}

function assertBytes(found: Buffer, wanted: Buffer, path: string, offset: number): void {
  if (found.equals(wanted)) return;
  let at = 0;
  while (at < found.length && found[at] === wanted[at]) at += 1;
  const [has, should] = [found, wanted].map((bytes) => bytes.subarray(at, at + 16).toString('hex'));
  assert.fail(
    `${path}: ${found.length} of ${wanted.length} bytes from ${offset} on; at ${offset + at} it has ${has}, not ${should}`,
  );
}

/** A stream of its own for each version of each file: the key says which. */
function bytesOf(path: string, { sizeBytes, version }: TreeFile): Buffer {
  const key = createHash('sha256').update(`${path} ${version}`).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(sizeBytes));
}
