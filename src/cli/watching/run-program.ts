import { spawn } from 'node:child_process';
import process from 'node:process';

/** A mail server that does not answer, a script that waits for somebody: told again later. */
export const programDeadlineMs = 60_000;
const complaintLengthMax = 200;
/** From the end of a program until what it said has been read. */
const lastWordsMs = 500;

/**
 * Runs a program of the operator's to its end, without a shell. Its output is not ours to print; the last line of what it says on
 * standard error is in the error that this rejects with when it fails.
 */
export function runOperatorProgram(
  program: string,
  words: readonly string[],
  {
    input = '',
    environment = {},
    deadlineMs = programDeadlineMs,
  }: {
    readonly input?: string;
    readonly environment?: Readonly<Record<string, string>>;
    readonly deadlineMs?: number;
  } = {},
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, words, {
      env: { ...process.env, ...environment },
      stdio: ['pipe', 'ignore', 'pipe'],
      // A group of its own, so that at the deadline its children go with it.
      detached: true,
    });
    const deadline = setTimeout(() => killGroup(child.pid), deadlineMs);
    let complaint = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaint = `${complaint}${text}`.slice(-4 * complaintLengthMax);
    });
    const heard = new Promise<void>((ended) => {
      child.stderr.once('close', ended);
    });
    // One that does not read what it is given ends with a code, which says it.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    child.once('error', (error) => {
      clearTimeout(deadline);
      reject(new Error(`cannot be run: ${error.message}`));
    });
    child.once('exit', (code, signal) => {
      clearTimeout(deadline);
      // What it left behind may keep these open for as long as it likes; its own last words are there within a moment.
      const lastWords = setTimeout(() => child.stderr.destroy(), lastWordsMs);
      child.stdin.destroy();
      void heard.then(() => {
        clearTimeout(lastWords);
        if (code === 0) resolve();
        else reject(new Error(`${endText(code, signal, deadlineMs)}${lastLine(complaint)}`));
      });
    });
  });
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    // It has just ended.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

function endText(code: number | null, signal: NodeJS.Signals | null, deadlineMs: number): string {
  if (signal === 'SIGKILL') return `killed, after ${deadlineMs / 1000} s at the latest`;
  return signal === null ? `ended with code ${code}` : `ended by ${signal}`;
}

function lastLine(text: string): string {
  const line = text.trim().split('\n').at(-1) ?? '';
  return line === '' ? '' : ` (${line.replace(/\p{Cc}+/gu, ' ').slice(0, complaintLengthMax)})`;
}
