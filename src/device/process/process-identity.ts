import { readFileSync } from 'node:fs';

/** Names one process for ever: a process id alone is given out again. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot, field 22 of /proc/PID/stat (man 5 proc). */
  readonly startTicks: number;
  /** /proc/sys/kernel/random/boot_id: ticks of another boot mean nothing. */
  readonly bootId: string;
}

/** The identity of a running process; undefined when there is none with this id. */
export function identityOfProcess(pid: number): ProcessIdentity | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  // The second field is the command in parentheses and may hold spaces and parentheses itself.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const state = fields[0];
  // A zombie has ended: it holds no disk and no socket, only its parent has not asked yet.
  if (state === undefined || state === 'Z' || state === 'X') return undefined;
  const startTicks = Number(fields[19]);
  return Number.isSafeInteger(startTicks) ? { pid, startTicks, bootId: readBootId() } : undefined;
}

export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}

/** `PID TICKS BOOT-ID`, the content of a `pid` file. */
export function formatIdentity(identity: ProcessIdentity): string {
  return `${identity.pid} ${identity.startTicks} ${identity.bootId}\n`;
}

/** Undefined for a text that is no identity, a half-written file for example. */
export function parseIdentity(text: string): ProcessIdentity | undefined {
  const match = /^(\d{1,10}) (\d{1,20}) ([0-9a-f-]{36})\n$/.exec(text);
  if (match === null) return undefined;
  return { pid: Number(match[1]), startTicks: Number(match[2]), bootId: match[3]! };
}

export function isRunning(identity: ProcessIdentity): boolean {
  const now = identityOfProcess(identity.pid);
  return now !== undefined && now.startTicks === identity.startTicks && now.bootId === identity.bootId;
}
