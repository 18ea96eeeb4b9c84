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
export async function launchDevice(options: ServeOptions): Promise<Ready> {
  const lastWords = openLastWords();
  try {
    const words = [...heapFlags(), ...nodeOptions(), mainPath(), 'serve', ...serveArguments(options)];
    const child = startingAsIoFlusher(() =>
      spawn(process.execPath, words, {
        // A session of its own: closing the terminal must not end a disk.
        detached: true,
        stdio: ['pipe', 'ignore', lastWords, 'pipe'],
        env: { ...process.env, ...environmentForMemory(), ...environmentForEngine(options.io) },
      }),
    );
    // A process that dies early does not read its table; it tells why by other means.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(options.main?.kind === 'table' ? options.main.text : '');
    const report = await waitForReport(child, lastWords);
    child.unref();
    if (report.ready) return report;
    throw new LaunchError(report.exitCode, report.message);
  } finally {
    closeSync(lastWords);
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
    ...(options.exportMain === false ? ['--no-export-main'] : []),
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

function waitForReport(child: ChildProcess, lastWords: number): Promise<ReadinessReport> {
  return new Promise((resolve, reject) => {
    const pipe = child.stdio[reportDescriptor] as Readable;
    let text = '';
    let settled = false;
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new LaunchError(ExitCode.failed, `the device did not start within ${startDeadlineMs} ms`));
    }, startDeadlineMs);
    const finish = (settle: () => void): void => {
      settled = true;
      clearTimeout(timer);
      pipe.destroy();
      settle();
    };
    pipe.setEncoding('utf8');
    pipe.on('data', (chunk: string) => {
      if (text.length < reportBytesMax) text += chunk;
    });
    pipe.on('end', () => {
      const report = parseReport(text);
      if (report !== undefined) finish(() => resolve(report));
    });
    child.on('error', (error) => finish(() => reject(new LaunchError(ExitCode.failed, error.message))));
    // `close` comes after the pipe's end: a process that reported and ended is heard.
    child.on('close', (code, signal) => {
      // Its last words may be closed by now.
      if (settled) return;
      const how = signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`;
      const words = readLastWords(lastWords);
      const message = `the device's process ${how}${words === '' ? '' : `: ${words}`}`;
      finish(() => reject(new LaunchError(code === ExitCode.bug ? ExitCode.bug : ExitCode.failed, message)));
    });
  });
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
