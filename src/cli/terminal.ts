import process from 'node:process';
import { isatty } from 'node:tty';
import { ExitCode } from './exit-code.ts';
import { printable } from './text/printable.ts';

/** Where a command prints; tests put a list in its place. */
export interface Terminal {
  /** One line, or several, to standard output. */
  print(text: string): void;
  /** One line to standard error. */
  warn(line: string): void;
  /** How far long work is, on a terminal only, on one line that is written over; undefined takes it away. */
  progress?(text: string | undefined): void;
  /** How much room there is; undefined where standard output is no terminal. */
  screen?(): Screen | undefined;
  /** Asks a person; there is one where input and output are a terminal. */
  readonly confirm?: (question: string) => Promise<boolean>;
  /** In place of all that is on the screen. Only where there is one. */
  draw?(lines: readonly string[]): void;
}

export interface Screen {
  readonly columns: number;
  readonly rows: number;
}

const columnsDefault = 80;
const rowsDefault = 24;

/** Of ECMA-48: cursor home; erase to the end of the line; erase to the end of the screen. */
const escapes = { home: '\u001b[H', restOfLine: '\u001b[K', restOfScreen: '\u001b[J' } as const;

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
      process.stdout.write(`${printable(text)}\n`);
    },
    warn: (line) => {
      process.stderr.write(`${printable(line)}\n`);
    },
    progress: (text) => {
      if (!process.stderr.isTTY) return;
      process.stderr.write(
        `\r${text === undefined ? '' : fittedTo(printable(text), process.stderr.columns)}${escapes.restOfLine}`,
      );
    },
    ...(isatty(0) && process.stdout.isTTY ? { confirm } : {}),
    screen: () => {
      const { isTTY, columns, rows } = process.stdout;
      // A terminal that nobody gave a size says 0.
      return isTTY ? { columns: columns || columnsDefault, rows: rows || rowsDefault } : undefined;
    },
    draw: (lines) => {
      const text = lines.map((line) => `${printable(line)}${escapes.restOfLine}\n`).join('');
      process.stdout.write(`${escapes.home}${text}${escapes.restOfScreen}`);
    },
  };
}

async function confirm(question: string): Promise<boolean> {
  const { createInterface } = await import('node:readline/promises');
  const asking = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return /^y(es)?$/i.test((await asking.question(`${printable(question)} [y/N] `)).trim());
  } finally {
    asking.close();
  }
}

function fittedTo(text: string, columns: number): string {
  return text.slice(0, Math.max(1, (columns || columnsDefault) - 1));
}

/** The machine's form of an answer. */
export function printJson(terminal: Terminal, value: unknown): void {
  terminal.print(JSON.stringify(value, undefined, 2));
}
