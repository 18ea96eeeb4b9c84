import { readFileSync } from 'node:fs';
import process from 'node:process';
import { setIoFlusher } from '../../linux/process-calls.ts';
import { replaceProcess } from '../../linux/replace-process.ts';

/**
 * PF_MEMALLOC_NOIO and PF_LOCAL_THROTTLE of linux/include/linux/sched.h: what PR_SET_IO_FLUSHER sets (kernel/sys.c). Asking
 * by PR_GET_IO_FLUSHER needs the same right as setting it; the flags of a thread everybody may read.
 */
const flusherFlags = 0x0018_0000;

/** Field 9 of /proc/PID/stat, counted behind the command's name: man 5 proc_pid_stat. */
const flagsField = 6;

/** Says to the program that takes our place that it was tried: without an effect it must not be tried for ever. */
const triedVariable = 'DM_REMAP_IO_FLUSHER_TRIED';

/**
 * Whether a thread of a file system's write-out path: when memory is short the kernel writes dirty pages to free some, and
 * ours through this very process, which must not wait for that itself. `stat` is the text of its `stat` file.
 */
export function isIoFlusher(stat: string): boolean {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[flagsField]) & flusherFlags) === flusherFlags;
}

/** Of the calling thread. */
export function thisThreadIsIoFlusher(): boolean {
  try {
    return isIoFlusher(readFileSync('/proc/thread-self/stat', 'latin1'));
  } catch {
    return false;
  }
}

/** Runs `start`, which makes a process, so that all threads of that process are flushers. Without the right: as it is. */
export function startingAsIoFlusher<T>(start: () => T): T {
  const had = thisThreadIsIoFlusher();
  const granted = !had && setIoFlusher(true) === 0;
  try {
    return start();
  } finally {
    if (granted) setIoFlusher(false);
  }
}

/**
 * Begins this program again, in the same process, so that all its threads are flushers: those that Node made before us
 * cannot be reached. `missing` is what its environment has to have as well before it starts, `missingFlags` what Node has to be
 * told. Call it before anything is open.
 * Returns when nothing is missing and all is so already, or not allowed.
 */
export function restartAsIoFlusher(
  missing: Readonly<Record<string, string>> = {},
  missingFlags: readonly string[] = [],
): void {
  const tried = process.env[triedVariable] !== undefined;
  delete process.env[triedVariable];
  if (tried) return;
  const becomesFlusher = !thisThreadIsIoFlusher() && setIoFlusher(true) === 0;
  if (!becomesFlusher && Object.keys(missing).length === 0 && missingFlags.length === 0) return;
  const words = [process.execPath, ...missingFlags, ...process.execArgv, ...process.argv.slice(1)];
  replaceProcess(process.execPath, words, { ...process.env, ...missing, [triedVariable]: '1' });
  // Refused: at least this thread is one, and those it makes from here on.
}
