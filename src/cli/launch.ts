import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import type { Readable } from 'node:stream';
import { heapFlags } from '../device/process/heap-flags.ts';
import { startingAsIoFlusher } from '../device/process/io-flusher.ts';
import { environmentForMemory } from '../device/process/process-environment.ts';
import { makeRuntimeDirectory, runtimeDirectory } from '../device/process/runtime-directory.ts';
import type { ReadinessReport, ServeOptions } from '../device/serve-options.ts';
import { environmentForEngine } from '../io/choose-engine.ts';
import { policyArguments } from './commands/policy-flags.ts';
import { ExitCode } from './exit-code.ts';
import { LaunchError } from './failure.ts';
import { tellToBegin } from './launch-word.ts';
import { mainPath } from './main-path.ts';

/** Opening a full table takes about a second; a disk that spins up, ten. */
const startDeadlineMs = 60_000;
/** Bytes of a report, and of the last words of a process that died without one. */
const reportBytesMax = 65_536;
const lastWordsBytesMax = 4_096;
/** The file descriptor on which the new process reports. */
const reportDescriptor = 3;

export type Ready = Extract<ReadinessReport, { ready: true }>;

/** Starts a device's own process and waits until it serves. Throws `LaunchError` with the process's own reason. */
export function launchDevice(options: ServeOptions): Promise<Ready> {
  return new Launch(options).serve();
}

/**
 * A device's own process from its start. It loads its program at once, on another core than ours has, and touches nothing before
 * `serve`. Exactly one of `serve` and `abandon` has to be called.
 */
export class Launch {
  readonly #table: string;
  readonly #lastWords: number;
  readonly #child: ChildProcess;
  readonly #reportPipe: Readable;
  readonly #report: Promise<ReadinessReport>;
  #isClosed = false;

  constructor(options: ServeOptions) {
    this.#table = options.main?.kind === 'table' ? options.main.text : '';
    this.#lastWords = openLastWords();
    const words = [...heapFlags(), ...nodeOptions(), mainPath(), 'serve', ...serveArguments(options)];
    this.#child = startingAsIoFlusher(() =>
      spawn(process.execPath, words, {
        // A session of its own: closing the terminal must not end a disk.
        detached: true,
        stdio: ['pipe', 'ignore', this.#lastWords, 'pipe'],
        env: { ...process.env, ...environmentForMemory(), ...environmentForEngine(options.io) },
      }),
    );
    // A process that dies early reads nothing; it tells why by other means.
    this.#child.stdin?.on('error', () => undefined);
    this.#reportPipe = this.#child.stdio[reportDescriptor] as Readable;
    this.#report = this.#readReport();
    // Also of one that ends while nobody waits for it yet.
    this.#report.catch(() => undefined);
  }

  /** Lets it serve; resolves when it does. Throws `LaunchError`. */
  async serve(): Promise<Ready> {
    const child = this.#child;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        child.kill('SIGKILL');
        // Not waited for: a disk that hangs may hold it.
        reject(new LaunchError(ExitCode.failed, `the device did not start within ${startDeadlineMs} ms`));
      }, startDeadlineMs);
    });
    try {
      if (child.stdin !== null) tellToBegin(child.stdin, this.#table);
      const report = await Promise.race([this.#report, late]);
      child.unref();
      if (report.ready) return report;
      throw new LaunchError(report.exitCode, report.message);
    } finally {
      clearTimeout(timer);
      this.#close();
    }
  }

  /** Ends it, and resolves when it has ended: it holds nothing that could keep it. */
  async abandon(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#report.catch(() => undefined);
    this.#close();
  }

  #close(): void {
    this.#isClosed = true;
    this.#reportPipe.destroy();
    closeSync(this.#lastWords);
  }

  /** What it says of itself; rejects with `LaunchError` when it ends without having said it. */
  #readReport(): Promise<ReadinessReport> {
    const child = this.#child;
    const pipe = this.#reportPipe;
    return new Promise((resolve, reject) => {
      let text = '';
      pipe.setEncoding('utf8');
      pipe.on('data', (chunk: string) => {
        if (text.length < reportBytesMax) text += chunk;
      });
      pipe.on('end', () => {
        const report = parseReport(text);
        if (report !== undefined) resolve(report);
      });
      child.on('error', (error) => reject(new LaunchError(ExitCode.failed, error.message)));
      // `close` comes after the pipe's end: a process that reported and ended is heard.
      child.on('close', (code, signal) => {
        // Somebody has heard enough; its last words are closed by now.
        if (this.#isClosed) return;
        const how = signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`;
        const words = readLastWords(this.#lastWords);
        const message = `the device's process ${how}${words === '' ? '' : `: ${words}`}`;
        reject(new LaunchError(code === ExitCode.bug ? ExitCode.bug : ExitCode.failed, message));
      });
    });
  }
}

/** Ours, but for a debugger's: its port is taken. */
function nodeOptions(): string[] {
  return process.execArgv.filter((word) => !word.startsWith('--inspect'));
}

/** The command line of `serve` that means `options`. The table itself goes through standard input. */
export function serveArguments(options: ServeOptions): string[] {
  const { main } = options;
  return [
    ...(options.name === undefined ? [] : [options.name]),
    ...(options.withoutSpare === true ? ['--without-spare'] : ['--spare', options.sparePath]),
    ...(main?.kind === 'path' ? ['--main', main.path] : []),
    ...(main?.kind === 'table' ? ['--main-table', '-', '--main-label', main.label] : []),
    ...(options.socketPath === undefined ? [] : ['--socket', options.socketPath]),
    ...(options.port === undefined ? [] : ['--port', String(options.port)]),
    '--cache',
    options.cache,
    ...(options.io === undefined ? [] : ['--io', options.io]),
    ...(options.requestMemoryBytes === undefined ? [] : ['--memory', String(options.requestMemoryBytes)]),
    ...(options.force ? ['--force'] : []),
    ...(options.takeover === true ? ['--force-takeover'] : []),
    ...(options.acceptMain ? ['--accept-main'] : []),
    ...(options.acceptChanges ? ['--accept-changes'] : []),
    ...policyArguments(options.policies ?? {}),
    '--report-descriptor',
    String(reportDescriptor),
  ];
}

/**
 * A file without a name for the standard error of the new process: a pipe would break when we end, and Node would take
 * its next warning for a fatal error.
 */
function openLastWords(): number {
  const directory = runtimeDirectory();
  makeRuntimeDirectory(directory);
  const path = join(directory, `.start-${process.pid}`);
  const descriptor = openSync(path, 'w+', 0o600);
  rmSync(path);
  return descriptor;
}

/** Undefined for a line that was cut: its process died while writing it. */
function parseReport(text: string): ReadinessReport | undefined {
  if (!text.endsWith('\n')) return undefined;
  // Written by the same program a moment ago.
  return JSON.parse(text) as ReadinessReport;
}

function readLastWords(descriptor: number): string {
  const bytes = Buffer.alloc(lastWordsBytesMax);
  const length = readSync(descriptor, bytes, 0, bytes.length, 0);
  return bytes.toString('utf8', 0, length).trim();
}
