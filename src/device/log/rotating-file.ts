import { writeSync } from 'node:fs';
import { type FileHandle, open, rename } from 'node:fs/promises';
import { type LineTarget, LineWriteError } from './line-queue.ts';

/** Read from the end of a file that is opened again: more than the longest line. */
const tailBytes = 65_536;
const newline = 0x0a;

export interface RotatingFileOptions {
  /** Asked until it succeeds: makes the folder, and names the file in it. */
  readonly path: () => Promise<string>;
  /** Bytes of one file. The one before it stays as `PATH.1`, so there is never more than twice this. */
  readonly bytesMax: number;
  /** Told of the end of the file each time it is opened; whole lines, the first of them perhaps cut. */
  readonly onTail?: (text: string) => void;
}

/**
 * A file of lines that only grows, until it is full and starts anew. Each write is one write(2) with O_APPEND: lines are never
 * mixed, and a line that a power cut or a full disk tore is ended before the next one.
 */
export class RotatingFile implements LineTarget {
  readonly #options: RotatingFileOptions;
  #path = '';
  #handle: FileHandle | undefined;
  #sizeBytes = 0;
  /** The last byte of the file is not the end of a line. */
  #torn = false;

  constructor(options: RotatingFileOptions) {
    this.#options = options;
  }

  /** Empty before it was opened first. */
  get path(): string {
    return this.#path;
  }

  async open(): Promise<void> {
    if (this.#handle !== undefined) return;
    this.#path = await this.#options.path();
    const handle = await open(this.#path, 'a+', 0o600);
    try {
      const tail = await readTail(handle);
      this.#sizeBytes = tail.sizeBytes;
      this.#torn = tail.text !== '' && !tail.text.endsWith('\n');
      // Ended between starting anew and the first line: the file before it goes on here.
      this.#options.onTail?.(tail.text === '' ? await tailBefore(this.#path) : tail.text);
    } catch (error) {
      await handle.close();
      throw error;
    }
    this.#handle = handle;
  }

  async write(lines: Buffer): Promise<void> {
    if (this.#sizeBytes > 0 && this.#sizeBytes + lines.length > this.#options.bytesMax) await this.#rotate();
    const handle = this.#handle!;
    const torn = this.#torn;
    const bytes = torn ? Buffer.concat([Buffer.from('\n'), lines]) : lines;
    let written = 0;
    try {
      // More than once only on a disk that is about to be full.
      while (written < bytes.length) written += (await handle.write(bytes, written)).bytesWritten;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new LineWriteError(message, Math.max(0, written - (torn ? 1 : 0)), { cause: error });
    } finally {
      if (written > 0) this.#torn = bytes[written - 1] !== newline;
      this.#sizeBytes += written;
    }
    await this.#lookWhetherGone(handle);
  }

  writeNow(lines: Buffer): void {
    if (this.#handle === undefined || lines.length === 0) return;
    writeSync(this.#handle.fd, this.#torn ? Buffer.concat([Buffer.from('\n'), lines]) : lines);
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
  }

  async #rotate(): Promise<void> {
    await rename(this.#path, `${this.#path}.1`);
    await this.close();
    await this.open();
  }

  /** Somebody removed it, or its folder: the next line goes to a new one, not to a file that nobody can see. */
  async #lookWhetherGone(handle: FileHandle): Promise<void> {
    const { nlink } = await handle.stat();
    if (nlink === 0) await this.close();
  }
}

async function readTail(handle: FileHandle): Promise<{ sizeBytes: number; text: string }> {
  const { size } = await handle.stat();
  const length = Math.min(size, tailBytes);
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, size - length);
  return { sizeBytes: size, text: buffer.toString('utf8', 0, bytesRead) };
}

async function tailBefore(path: string): Promise<string> {
  try {
    const handle = await open(`${path}.1`, 'r');
    try {
      return (await readTail(handle)).text;
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error)) throw error;
    // It helps to number what comes, no more.
    return '';
  }
}
