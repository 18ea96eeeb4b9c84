import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';
import process from 'node:process';
import pino from 'pino';
import type { Clock } from '../../block/clock.ts';

/** Bytes of one log file; the one before it is kept, so a device never has more than twice this on disk. */
export const logFileBytesMax = 1_048_576;

/** Lines written in one window; the rest are counted and told in one line when the window ends (I11). */
export const logLinesPerWindowMax = 50;
export const logWindowMs = 10_000;

/** What happened to a device, for people. Never called per healthy I/O. */
export interface DaemonLog {
  info(event: string, details?: Readonly<Record<string, unknown>>): void;
  warn(event: string, details?: Readonly<Record<string, unknown>>): void;
  error(event: string, details?: Readonly<Record<string, unknown>>): void;
  close(): void;
}

/** A file that starts anew when it is full; the full one stays beside it as `PATH.1`. */
class BoundedFile {
  readonly #path: string;
  #descriptor: number;
  #sizeBytes: number;

  constructor(path: string) {
    this.#path = path;
    this.#descriptor = openSync(path, 'a', 0o600);
    this.#sizeBytes = fstatSync(this.#descriptor).size;
  }

  /** A full or vanished disk under the log must not stop a device: a failed write is dropped. */
  write(line: string): void {
    try {
      if (this.#sizeBytes + line.length > logFileBytesMax) this.#rotate();
      this.#sizeBytes += writeSync(this.#descriptor, line);
    } catch {
      this.#sizeBytes += line.length;
    }
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  #rotate(): void {
    renameSync(this.#path, `${this.#path}.1`);
    closeSync(this.#descriptor);
    this.#descriptor = openSync(this.#path, 'a', 0o600);
    this.#sizeBytes = 0;
  }
}

/** JSON lines to standard error: under systemd the journal keeps and bounds them. */
const standardError = {
  write(line: string): void {
    try {
      writeSync(2, line);
    } catch {
      // Nobody reads it any more.
    }
  },
  close(): void {},
};

/** The log of one device, rate-limited. Without a path it goes to standard error. */
export function openDaemonLog(clock: Clock, path: string | undefined, name: string): DaemonLog {
  const destination = path === undefined ? standardError : new BoundedFile(path);
  // `destination` has the one method that pino asks of a stream; writing is synchronous, so a crash loses no line.
  const logger = pino({ base: { pid: process.pid, device: name } }, destination);
  let windowStartMs = clock.nowMs();
  let written = 0;
  let suppressed = 0;

  const admit = (): boolean => {
    const nowMs = clock.nowMs();
    if (nowMs - windowStartMs >= logWindowMs) {
      if (suppressed > 0) logger.warn({ suppressed }, 'log lines suppressed');
      windowStartMs = nowMs;
      written = 0;
      suppressed = 0;
    }
    if (written < logLinesPerWindowMax) {
      written += 1;
      return true;
    }
    suppressed += 1;
    return false;
  };

  return {
    info: (event, details = {}) => {
      if (admit()) logger.info(details, event);
    },
    warn: (event, details = {}) => {
      if (admit()) logger.warn(details, event);
    },
    error: (event, details = {}) => {
      if (admit()) logger.error(details, event);
    },
    close: () => {
      if (suppressed > 0) logger.warn({ suppressed }, 'log lines suppressed');
      destination.close();
    },
  };
}
