import process from 'node:process';
import { ExitCode } from './exit-code.ts';

/** Where a command prints; tests put a list in its place. */
export interface Terminal {
  /** One line, or several, to standard output. */
  print(text: string): void;
  /** One line to standard error. */
  warn(line: string): void;
}

/**
 * The process's own standard streams. A reader that went away (`dm-remap status x | head -1`) is no error; an answer that
 * nobody can have got is one. A complaint that finds no reader ends nothing: `serve` may be the one who complains.
 */
export function processTerminal(): Terminal {
  process.stderr.on('error', () => undefined);
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(process.exitCode ?? ExitCode.ok);
    process.stderr.write(`dm-remap: standard output: ${error.message}\n`);
    process.exit(ExitCode.failed);
  });
  return {
    print: (text) => {
      process.stdout.write(`${text}\n`);
    },
    warn: (line) => {
      process.stderr.write(`${line}\n`);
    },
  };
}

/** The machine's form of an answer. */
export function printJson(terminal: Terminal, value: unknown): void {
  terminal.print(JSON.stringify(value, undefined, 2));
}
