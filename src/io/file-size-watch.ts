import { fstat } from 'node:fs';
import { promisify } from 'node:util';

const fstatAsync = promisify(fstat);

/** A request is followed by a look at the file's size within this time: 4 calls of a helper thread a second under load. */
export const sizeLookMs = 250;

export interface FileSizeWatchOptions {
  readonly sizeBytes: number;
  /** Runs a look on the descriptor that is open now, and keeps that open meanwhile; not at all where none is. */
  readonly onDescriptor: (look: (fd: number) => Promise<void>) => Promise<void>;
  /** Called once. */
  readonly onCut: (hasBytes: number) => void;
}

/**
 * Finds out that somebody cut an image file while it is served. A write behind the new end makes the file grow again, and what
 * lay before it reads as zeros that nobody wrote: so whoever answers for stored bytes looks at the size first, and a read or
 * write that nobody flushed behind is followed by a look soon.
 *
 * Not seen: a file that is cut and made as large again between two looks.
 */
export class FileSizeWatch {
  readonly #options: FileSizeWatchOptions;
  #cut = false;
  #closed = false;
  #looking = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: FileSizeWatchOptions) {
    this.#options = options;
  }

  /** A request is on its way. */
  noteRequest(): void {
    if (this.#timer === undefined && !this.#closed) {
      this.#timer = setTimeout(() => this.#lookLater(), sizeLookMs).unref();
    }
  }

  /** Resolves to false when the file is smaller than it was, now or at an earlier look. */
  async isWhole(): Promise<boolean> {
    if (!this.#cut) await this.#options.onDescriptor((fd) => this.#look(fd));
    return !this.#cut;
  }

  /** Nobody looks by himself any more. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #lookLater(): void {
    this.#timer = undefined;
    // A file system that does not answer gets one thread of us, not one more at each look.
    if (this.#looking === 0) void this.isWhole();
  }

  async #look(fd: number): Promise<void> {
    const hasBytes = await this.#sizeNow(fd);
    if (hasBytes === undefined || hasBytes >= this.#options.sizeBytes || this.#cut) return;
    this.#cut = true;
    this.#options.onCut(hasBytes);
  }

  /** Undefined for what has no size, and where the file system does not say: the requests themselves will tell. */
  async #sizeNow(fd: number): Promise<number | undefined> {
    this.#looking += 1;
    try {
      const facts = await fstatAsync(fd);
      return facts.isFile() ? facts.size : undefined;
    } catch {
      return undefined;
    } finally {
      this.#looking -= 1;
    }
  }
}
