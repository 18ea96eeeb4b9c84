import { spawn } from 'node:child_process';

/** A program ended otherwise than well; the message holds what it said. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure';
}

export interface CommandOptions {
  readonly environment?: NodeJS.ProcessEnv;
  /** Ends the program; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

const outputLengthMax = 4 * 1024 * 1024;

/**
 * Runs a program and gives its standard output. In a process group of its own, so that Ctrl-C in the terminal reaches
 * only the benchmark, which then decides in what order things end.
 */
export function runCommand(
  program: string,
  words: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const { signal, timeoutMs } = options;
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const child = spawn(program, words, {
      env: options.environment ?? process.env,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      ...(timeoutMs === undefined ? {} : { timeout: timeoutMs }),
    });
    const abort = (): void => void child.kill('SIGTERM');
    signal?.addEventListener('abort', abort);
    let output = '';
    let complaint = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-outputLengthMax);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaint = (complaint + text).slice(-outputLengthMax);
    });
    child.on('error', reject);
    child.on('close', (status, endedBy) => {
      signal?.removeEventListener('abort', abort);
      if (signal?.aborted === true) reject(signal.reason);
      else if (status === 0) resolve(output);
      else reject(new CommandFailure(`${program}: ${status ?? endedBy}: ${complaint}${output}`.trim()));
    });
  });
}
