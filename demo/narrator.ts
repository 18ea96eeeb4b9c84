import type { Writable } from 'node:stream';
import { colouredGlyphs, type MapStyle, plainGlyphs } from './disk-map.ts';

const mapColumns = 64;
const ruleLength = 78;

/** Prints the story: headings, commands, what they answered, and what it means. */
export class Narrator {
  readonly mapStyle: MapStyle;
  readonly #output: Writable;
  readonly #coloured: boolean;
  #scene = 0;

  constructor(output: Writable, options: { readonly coloured: boolean }) {
    this.#output = output;
    this.#coloured = options.coloured;
    this.mapStyle = { columns: mapColumns, glyphs: options.coloured ? colouredGlyphs : plainGlyphs };
  }

  /** Begins the next part. */
  scene(title: string): void {
    this.#scene += 1;
    this.#line('');
    this.#line(this.#styled('1', `${this.#scene}. ${title}`));
  }

  say(...lines: readonly string[]): void {
    for (const line of lines) this.#line(line === '' ? '' : `   ${line}`);
  }

  /** A command that is about to run. */
  command(text: string): void {
    this.#line(`   ${this.#styled('36', `$ ${text}`)}`);
  }

  /** What a command printed. */
  answer(text: string): void {
    if (text.trim() === '') return;
    for (const line of text.trimEnd().split('\n')) this.#line(`     ${line}`);
  }

  good(text: string): void {
    this.#line(`   ${this.#styled('32', 'ok')} ${text}`);
  }

  /** Nobody may overlook this one. */
  alarm(...lines: readonly string[]): void {
    const rule = '*'.repeat(ruleLength);
    this.#line('');
    for (const line of [rule, ...lines.map((text) => `***  ${text}`), rule]) {
      this.#line(this.#styled('1;31', line));
    }
  }

  #styled(code: string, text: string): string {
    return this.#coloured ? `\u001b[${code}m${text}\u001b[0m` : text;
  }

  #line(text: string): void {
    this.#output.write(`${text}\n`);
  }
}
