import { writeSync } from 'node:fs';
import process from 'node:process';
import { oneLine } from '../setup-error.ts';
import { endProcess } from './end-process.ts';

/** EX_SOFTWARE of sysexits.h: an internal error was found. */
export const failStopExitCode = 70;

/**
 * Makes every uncaught error, unhandled rejection and failed assertion of the data plane end the process at once (R35):
 * one line on stderr, exit code 70. Bytes are safe: everything acknowledged is durable by the rules, so stopping is
 * always right and going on with a broken invariant never is. `beforeExit` may write a log line; it must not throw.
 */
export function installFailStop(
  label: string,
  beforeExit: (error: unknown, origin: string) => void = () => undefined,
): void {
  process.on('uncaughtException', (error, origin) => failStop(label, error, origin, beforeExit));
  process.on('unhandledRejection', (reason) => failStop(label, reason, 'unhandledRejection', beforeExit));
}

function failStop(
  label: string,
  error: unknown,
  origin: string,
  beforeExit: (error: unknown, origin: string) => void,
): void {
  try {
    writeSync(2, `${failStopLine(label, error)}\n`);
    beforeExit(error, origin);
  } catch {
    // stderr may be closed, the disk of the log full: neither may keep a broken process alive.
  } finally {
    endProcess(failStopExitCode);
  }
}

/** `dm-remap: NAME: internal error, stopping: AssertionFailure: … (at file:line)`. */
export function failStopLine(label: string, error: unknown): string {
  const what = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const place = error instanceof Error ? placeOf(error) : '';
  return `dm-remap: ${label}: internal error, stopping: ${oneLine(what)}${place}`;
}

/** The first frame of the stack, ` (at src/remap/locks.ts:12:3)`; empty when there is none. */
function placeOf(error: Error): string {
  const frame = error.stack?.split('\n').find((line) => /^\s+at /.test(line));
  const match = frame === undefined ? null : /([^/\s(]+\/[^/\s(]+:\d+:\d+)\)?$/.exec(frame);
  return match === null ? '' : ` (at ${match[1]})`;
}
