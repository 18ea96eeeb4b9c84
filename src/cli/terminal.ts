import process from 'node:process';

/** Where a command prints; tests put a list in its place. */
export interface Terminal {
  /** One line, or several, to standard output. */
  print(text: string): void;
  /** One line to standard error. */
  warn(line: string): void;
}

/** The process's own standard streams. A reader that went away (`dm-remap status x | head -1`) is no error. */
export function processTerminal(): Terminal {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(process.exitCode ?? 0);
      throw error;
    });
  }
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
