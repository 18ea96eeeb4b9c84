import type { Clock } from '../../block/clock.ts';

/** Entries that wait for their file. Past it the disk under the log is too slow: what comes is dropped, and counted. */
export const entriesWaitingMax = 1_024;
/** Bytes of one write. */
const batchBytesMax = 65_536;
/** A write that takes longer than this may never end: last words do not wait behind it. */
const writeHangsAfterMs = 1_000;

/** Where lines go. */
export interface LineTarget {
  /** Called before each write; does nothing when it is open. Rejects with the system's error. */
  open(): Promise<void>;
  /** Appends whole lines. Rejects with the system's error; `written` of it says how many bytes went. */
  write(lines: Buffer): Promise<void>;
  /** The same, while the process ends. Does nothing when it never was open. */
  writeNow(lines: Buffer): void;
  close(): Promise<void>;
}

/** Some or all of a write did not go; carries how much did. */
export class LineWriteError extends Error {
  override readonly name = 'LineWriteError';
  readonly writtenBytes: number;

  constructor(message: string, writtenBytes: number, options?: { cause?: unknown }) {
    super(message, options);
    this.writtenBytes = writtenBytes;
  }
}

export interface LineQueueOptions<Entry> {
  readonly clock: Clock;
  readonly target: LineTarget;
  /** The whole line with its newline; asked right before it is written, in order. */
  readonly encode: (entry: Entry) => string;
  /** It works again after entries were dropped: told once, with how many, in the place where they are missing. */
  readonly onDropped: (count: number, reason: string) => void;
}

/**
 * Lines on their way to a file, in order, written by libuv's threads one batch at a time: the thread that adds them never
 * waits for a file system, not even for one that hangs. What was added is in the file some tens of microseconds later
 * unless the disk is slow; what a SIGKILL finds still here is lost. Nothing runs while nothing waits.
 */
export class LineQueue<Entry> {
  readonly #options: LineQueueOptions<Entry>;
  #waiting: Entry[] = [];
  #writing: Promise<void> | undefined;
  #writeSinceMs = 0;
  /** Lines that are being written. */
  #batch: readonly string[] = [];
  #dropped = 0;
  #droppedInAll = 0;
  #trouble = '';
  #closed = false;

  constructor(options: LineQueueOptions<Entry>) {
    this.#options = options;
  }

  /** Entries that were never written, since the start. */
  get dropped(): number {
    return this.#droppedInAll;
  }

  /** One clause; empty while all is well. */
  get trouble(): string {
    return this.#trouble;
  }

  add(entry: Entry): void {
    if (this.#closed) return;
    if (this.#waiting.length >= entriesWaitingMax) {
      this.#drop(1, 'the disk under the log does not answer');
      return;
    }
    this.#waiting.push(entry);
    this.#writing ??= this.#writeAll();
  }

  /**
   * While the process ends at once: what waits goes now, unless a write hangs already. What is being written goes once more,
   * for its thread ends with the process, and nobody knows how far it is. Must not be followed by `add`.
   */
  flushNow(): void {
    this.#closed = true;
    const hangs =
      this.#writing !== undefined && this.#options.clock.nowMs() - this.#writeSinceMs > writeHangsAfterMs;
    if (hangs) return;
    const lines = [...this.#batch, ...this.#waiting.splice(0).map(this.#options.encode)];
    this.#options.target.writeNow(Buffer.from(lines.join('')));
  }

  /** Resolves when nothing waits, or after `deadlineMs`; nothing is taken any more. */
  async close(deadlineMs: number): Promise<void> {
    this.#closed = true;
    const done = (this.#writing ?? Promise.resolve()).then(() => this.#options.target.close());
    let timer: { cancel(): void } | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = this.#options.clock.schedule(deadlineMs, resolve);
    });
    await Promise.race([done, deadline]);
    timer?.cancel();
  }

  async #writeAll(): Promise<void> {
    const { clock, target } = this.#options;
    while (this.#waiting.length > 0) {
      this.#writeSinceMs = clock.nowMs();
      try {
        await target.open();
        this.#batch = this.#takeBatch();
        await target.write(Buffer.from(this.#batch.join('')));
        this.#batch = [];
        this.#trouble = '';
        this.#tellDropped();
      } catch (error) {
        if (!isSystemError(error)) throw error;
        const batch = this.#batch;
        this.#batch = [];
        // Nothing was taken when it could not even be opened: what waits would wait for ever.
        const lines = batch.length > 0 ? batch.length : this.#waiting.splice(0).length;
        this.#drop(lines - wholeLines(batch, error), error.message);
      }
    }
    this.#writing = undefined;
  }

  #takeBatch(): readonly string[] {
    const lines: string[] = [];
    let bytes = 0;
    while (this.#waiting.length > 0 && bytes < batchBytesMax) {
      const line = this.#options.encode(this.#waiting.shift()!);
      bytes += Buffer.byteLength(line);
      lines.push(line);
    }
    return lines;
  }

  #drop(count: number, reason: string): void {
    this.#dropped += count;
    this.#droppedInAll += count;
    this.#trouble = reason;
  }

  #tellDropped(): void {
    const count = this.#dropped;
    if (count === 0) return;
    this.#dropped = 0;
    this.#options.onDropped(count, 'the disk under the log was full, or did not answer');
  }
}

function isSystemError(error: unknown): error is Error {
  return error instanceof LineWriteError || (error instanceof Error && 'code' in error);
}

/** How many lines of the batch are whole in the file. */
function wholeLines(batch: readonly string[], error: Error): number {
  let left = error instanceof LineWriteError ? error.writtenBytes : 0;
  let count = 0;
  for (const line of batch) {
    left -= Buffer.byteLength(line);
    if (left < 0) break;
    count += 1;
  }
  return count;
}
