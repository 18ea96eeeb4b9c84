import type { Writable } from 'node:stream';
import { readWaiting } from '../io/waiting-read.ts';

/**
 * What a launcher says on standard input of the process that it started: until then the process only loads its program and touches
 * no disk and no file, so it can be started while a spare is still being formatted.
 */
const beginWord = 'begin\n';

/** Says it, and behind it `table`, which the process reads as its standard input. */
export function tellToBegin(standardInput: Writable, table: string): void {
  standardInput.end(beginWord + table);
}

/** Blocks until it is said. False: the launcher has ended or changed its mind; then nothing must be touched. */
export function waitForBegin(): boolean {
  // Not a byte more: what follows is the table.
  const bytes = Buffer.alloc(beginWord.length);
  for (let length = 0; length < bytes.length; ) {
    const count = readWaiting(0, bytes, length, bytes.length - length);
    if (count === 0) return false;
    length += count;
  }
  return bytes.toString('latin1') === beginWord;
}
