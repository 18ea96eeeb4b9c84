import { type FileHandle, open, stat } from 'node:fs/promises';
import { parseEventLine, type StoredEvent } from './event-record.ts';

const newline = 0x0a;
/** Bytes of one read. */
const pieceBytes = 262_144;
/** Bytes of a line that is not ended yet; a longer one is none of ours. */
const lineBytesMax = 65_536;

/** A line as it is stored, and what it says. */
export interface ReadEvent {
  readonly line: string;
  readonly event: StoredEvent;
}

/** Reads an event log while its device goes on writing it, or long after; follows it when it starts anew. */
export class EventReader {
  readonly path: string;
  #handle: FileHandle | undefined;
  #inode = 0;
  #offset = 0;
  #rest: Buffer = Buffer.alloc(0);
  #begun = false;
  #damagedLines = 0;
  #last: StoredEvent | undefined;

  constructor(path: string) {
    this.path = path;
  }

  /** Lines that a power cut tore, or that are of a later program. */
  get damagedLines(): number {
    return this.#damagedLines;
  }

  /** Everything since the last call, in the order of the file. Nothing where there is no file (yet). Rejects with the system's error. */
  async read(): Promise<readonly ReadEvent[]> {
    const events: ReadEvent[] = [];
    // The file may start anew while it is read: then what is left of it is read first.
    while (await this.#readOn(events));
    return events;
  }

  async close(): Promise<void> {
    await this.#handle?.close();
    this.#handle = undefined;
  }

  /** True when there is another file to read. */
  async #readOn(events: ReadEvent[]): Promise<boolean> {
    if (this.#handle === undefined && !(await this.#open(events))) return false;
    await this.#readToEnd(events);
    const now = await inodeOf(this.path);
    if (now === undefined || now === this.#inode) return false;
    // What was written between reading and starting anew; after it nobody writes to the old file.
    await this.#readToEnd(events);
    await this.close();
    return true;
  }

  async #open(events: ReadEvent[]): Promise<boolean> {
    const handle = await openIfThere(this.path);
    if (handle === undefined && this.#begun) return false;
    const inode = handle === undefined ? 0 : (await handle.stat()).ino;
    // The file before it, unless it is the one that was read last.
    const before = await openIfThere(`${this.path}.1`);
    if (before !== undefined) {
      const { ino } = await before.stat();
      if (ino === inode || ino === this.#inode) await before.close();
      else await this.#readWhole(before, events);
      if (handle === undefined) this.#inode = ino;
    }
    this.#handle = handle;
    if (handle !== undefined) this.#inode = inode;
    this.#offset = 0;
    this.#rest = Buffer.alloc(0);
    this.#begun = true;
    return handle !== undefined;
  }

  async #readWhole(handle: FileHandle, events: ReadEvent[]): Promise<void> {
    this.#handle = handle;
    this.#offset = 0;
    this.#rest = Buffer.alloc(0);
    await this.#readToEnd(events);
    await this.close();
  }

  async #readToEnd(events: ReadEvent[]): Promise<void> {
    const handle = this.#handle!;
    const { size } = await handle.stat();
    if (size < this.#offset) this.#offset = 0;
    const piece = Buffer.alloc(Math.min(pieceBytes, Math.max(1, size - this.#offset)));
    for (;;) {
      const { bytesRead } = await handle.read(piece, 0, piece.length, this.#offset);
      if (bytesRead === 0) return;
      this.#offset += bytesRead;
      this.#take(piece.subarray(0, bytesRead), events);
    }
  }

  #take(piece: Buffer, events: ReadEvent[]): void {
    let bytes = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece]);
    for (let end = bytes.indexOf(newline); end >= 0; end = bytes.indexOf(newline)) {
      this.#takeLine(bytes.toString('utf8', 0, end), events);
      bytes = bytes.subarray(end + 1);
    }
    this.#rest = Buffer.from(bytes.length > lineBytesMax ? bytes.subarray(0, lineBytesMax) : bytes);
  }

  /** A process that ended at once wrote again what it could not wait for. */
  #isRepeated({ pid, sequence }: StoredEvent): boolean {
    return this.#last !== undefined && pid === this.#last.pid && sequence <= this.#last.sequence;
  }

  #takeLine(line: string, events: ReadEvent[]): void {
    if (line === '') return;
    const event = parseEventLine(line);
    if (event === undefined) this.#damagedLines += 1;
    else if (!this.#isRepeated(event)) {
      this.#last = event;
      events.push({ line, event });
    }
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

async function inodeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).ino;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}
