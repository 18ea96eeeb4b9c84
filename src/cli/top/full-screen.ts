import process from 'node:process';
import type { Screen } from '../terminal.ts';
import { type Key, KeyReader } from './keys.ts';
import { colouredText, type Line, plainText } from './span.ts';

/** ECMA-48, and the private modes of xterm that every terminal of today has. */
const escapes = {
  enter: '\u001b[?1049h\u001b[?25l\u001b[?7l\u001b[2J',
  leave: '\u001b[0m\u001b[?7h\u001b[?25h\u001b[?1049l',
  restOfLine: '\u001b[K',
  restOfScreen: '\u001b[J',
} as const;

const columnsDefault = 80;
const rowsDefault = 24;

/** What is written to; `process.stdout` of a terminal is one. */
export interface ScreenOutput {
  readonly columns: number;
  readonly rows: number;
  write(text: string): unknown;
  hasColors?(): boolean;
  on(event: 'resize', listener: () => void): unknown;
  off(event: 'resize', listener: () => void): unknown;
}

/** Where keys come from; `process.stdin` of a terminal is one. */
export interface ScreenInput {
  setRawMode(raw: boolean): unknown;
  setEncoding(encoding: 'utf8'): unknown;
  resume(): unknown;
  pause(): unknown;
  on(event: 'data', listener: (text: string) => void): unknown;
  off(event: 'data', listener: (text: string) => void): unknown;
}

export interface FullScreenOptions {
  readonly output: ScreenOutput;
  /** Undefined where nobody can press keys. */
  readonly input: ScreenInput | undefined;
  readonly colours: boolean;
  readonly onKey: (key: Key) => void;
  /** The size has changed, or all of it has to be drawn again. */
  readonly onRedraw: () => void;
  /** Stops this process as control-Z does; returns when it goes on. */
  readonly stop: () => void;
}

/**
 * A terminal of which the whole screen is ours, on a page of its own. Whatever ends the process, but for SIGKILL, gives back
 * what was there: page, cursor, wrapping, and the keys' meanings.
 */
export class FullScreen {
  readonly #options: FullScreenOptions;
  readonly #keys = new KeyReader();
  #entered = false;
  readonly #onData = (text: string): void => this.#read(text);
  readonly #onResize = (): void => this.#options.onRedraw();
  readonly #onExit = (): void => this.leave();
  readonly #onStop = (): void => this.#stop();
  readonly #onContinue = (): void => this.#continue();

  constructor(options: FullScreenOptions) {
    this.#options = options;
  }

  get size(): Screen {
    const { columns, rows } = this.#options.output;
    // A terminal that nobody gave a size says 0.
    return { columns: columns || columnsDefault, rows: rows || rowsDefault };
  }

  enter(): void {
    if (this.#entered) return;
    this.#entered = true;
    const { input, output } = this.#options;
    process.on('exit', this.#onExit);
    process.on('SIGTSTP', this.#onStop);
    process.on('SIGCONT', this.#onContinue);
    output.on('resize', this.#onResize);
    input?.setRawMode(true);
    input?.setEncoding('utf8');
    input?.on('data', this.#onData);
    input?.resume();
    output.write(escapes.enter);
  }

  /** Idempotent. */
  leave(): void {
    if (!this.#entered) return;
    this.#entered = false;
    const { input, output } = this.#options;
    output.write(escapes.leave);
    input?.off('data', this.#onData);
    input?.pause();
    input?.setRawMode(false);
    output.off('resize', this.#onResize);
    process.off('SIGCONT', this.#onContinue);
    process.off('SIGTSTP', this.#onStop);
    process.off('exit', this.#onExit);
  }

  /** In place of all that is on the screen; lines fit it. In one piece: nobody sees half of it. */
  draw(lines: readonly Line[]): void {
    if (!this.#entered) return;
    const text = this.#options.colours ? colouredText : plainText;
    // Erased before it is written: behind the last column an erasure would take the last letter.
    const rows = lines.map((line, row) => `\u001b[${row + 1};1H${escapes.restOfLine}${text(line)}`);
    const rest = lines.length < this.size.rows ? `\u001b[${lines.length + 1};1H${escapes.restOfScreen}` : '';
    this.#options.output.write(rows.join('') + rest);
  }

  #read(text: string): void {
    for (const key of this.#keys.read(text)) {
      if (key === 'stop') this.#stop();
      else this.#options.onKey(key);
    }
  }

  #stop(): void {
    this.leave();
    this.#options.stop();
    this.enter();
    this.#options.onRedraw();
  }

  /** Somebody else stopped us, and a shell may have set up the terminal its own way since. */
  #continue(): void {
    this.leave();
    this.enter();
    this.#options.onRedraw();
  }
}
