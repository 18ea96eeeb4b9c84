import assert from 'node:assert/strict';

/** The little of a terminal that `top` uses, made from what it is sent: what stands where, and in which modes it is. */
export class TerminalPicture {
  columns: number;
  rows: number;
  alternate = false;
  cursorShown = true;
  wraps = true;
  styled = false;
  /** Letters written beyond the last column, or below the last row. */
  clipped = 0;
  /** Sequences that this terminal does not know. */
  readonly unknown: string[] = [];
  #cells: string[][] = [];
  #row = 0;
  #column = 0;
  #rest = '';

  constructor(columns: number, rows: number) {
    this.columns = columns;
    this.rows = rows;
    this.#clear();
  }

  /** The screen, a row a line, without spaces at the ends. */
  get lines(): string[] {
    return this.#cells.map((row) => row.join('').trimEnd());
  }

  resize(columns: number, rows: number): void {
    this.columns = columns;
    this.rows = rows;
    this.#clear();
  }

  write(text: string): void {
    let rest = this.#rest + text;
    this.#rest = '';
    while (rest !== '') {
      if (rest[0] === '\u001b') {
        const length = this.#sequence(rest);
        if (length === 0) {
          this.#rest = rest;
          return;
        }
        rest = rest.slice(length);
        continue;
      }
      const [letter = ''] = rest;
      this.#put(letter);
      rest = rest.slice(letter.length);
    }
  }

  #put(letter: string): void {
    if (letter === '\n') this.#row = Math.min(this.rows - 1, this.#row + 1);
    else if (letter === '\r') this.#column = 0;
    else {
      assert.doesNotMatch(letter, /\p{Cc}/u, 'a control character reached the terminal');
      if (this.#column >= this.columns) this.clipped += 1;
      const row = this.#cells[this.#row];
      if (row === undefined) this.clipped += 1;
      else if (this.#column < this.columns) row[this.#column] = letter;
      this.#column += 1;
    }
  }

  /** Characters of the sequence at the start of `text`; 0 when it is not whole yet. */
  #sequence(text: string): number {
    const [, body = '', final = ''] = /^.\[([?0-9;]*)([A-Za-z])/su.exec(text) ?? [];
    if (final === '') {
      assert.ok(text.length < 16, `no sequence: ${JSON.stringify(text.slice(0, 16))}`);
      return 0;
    }
    this.#obey(`${body}${final}`);
    return 2 + body.length + 1;
  }

  #obey(sequence: string): void {
    const modes: Readonly<Record<string, () => void>> = {
      '?1049h': () => this.#page(true),
      '?1049l': () => this.#page(false),
      '?25h': () => this.#set({ cursorShown: true }),
      '?25l': () => this.#set({ cursorShown: false }),
      '?7h': () => this.#set({ wraps: true }),
      '?7l': () => this.#set({ wraps: false }),
      '2J': () => this.#clear(),
      H: () => this.#move(0, 0),
      K: () => this.#eraseFrom(this.#row, this.#column, this.#row),
      J: () => this.#eraseFrom(this.#row, this.#column, this.rows - 1),
    };
    const place = /^(\d+);(\d+)H$/.exec(sequence);
    if (place !== null) this.#move(Number(place[1]) - 1, Number(place[2]) - 1);
    else if (/^[0-9;]*m$/.test(sequence)) this.styled = sequence !== '0m';
    else if (modes[sequence] !== undefined) modes[sequence]();
    else this.unknown.push(sequence);
  }

  #page(alternate: boolean): void {
    this.alternate = alternate;
    this.#clear();
  }

  #set(modes: { cursorShown?: boolean; wraps?: boolean }): void {
    Object.assign(this, modes);
  }

  #move(row: number, column: number): void {
    this.#row = row;
    this.#column = column;
  }

  #clear(): void {
    this.#cells = Array.from({ length: this.rows }, () => Array<string>(this.columns).fill(' '));
  }

  #eraseFrom(row: number, column: number, lastRow: number): void {
    for (let at = row; at <= lastRow; at += 1) this.#cells[at]?.fill(' ', at === row ? column : 0);
  }
}
