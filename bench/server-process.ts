import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Contestant } from './contestant.ts';
import { BenchRefusal } from './tools.ts';

const startDeadlineMs = 10_000;
const startPollMs = 10;
const stopDeadlineMs = 10_000;
const lastWordsLengthMax = 500;

export interface ServerCommand {
  readonly name: string;
  readonly program: string;
  readonly words: readonly string[];
  readonly socketPath: string;
  /** The default export unless named. */
  readonly exportName?: string;
}

/** Starts a server that listens on `socketPath` and ends at SIGTERM. */
export async function startServerProcess(command: ServerCommand): Promise<Contestant> {
  // In a process group of its own: see runCommand.
  const child = spawn(command.program, command.words, {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  });
  let lastWords = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    lastWords = (lastWords + text).slice(-lastWordsLengthMax);
  });
  let spawnError: Error | undefined;
  child.on('error', (error) => {
    spawnError = error;
  });
  for (let waitedMs = 0; !existsSync(command.socketPath); waitedMs += startPollMs) {
    if (spawnError !== undefined || hasEnded(child) || waitedMs > startDeadlineMs) {
      await stopChild(child);
      throw new BenchRefusal(`${command.name} did not start: ${spawnError?.message ?? lastWords.trim()}`);
    }
    await sleep(startPollMs);
  }
  return {
    name: command.name,
    target: { kind: 'nbd', uri: `nbd+unix:///${command.exportName ?? ''}?socket=${command.socketPath}` },
    pid: child.pid,
    servesImage: true,
    stop: () => stopChild(child),
  };
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || hasEnded(child)) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), stopDeadlineMs);
  await ended;
  clearTimeout(timer);
}

/** USER_HZ: the unit of /proc/PID/stat, 100 on every Linux that Node runs on. */
const ticksPerSecond = 100;

/** Seconds of processor time that a process and all its threads have used. */
export function processorSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The second field is the name in parentheses and may contain anything; utime and stime are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}
