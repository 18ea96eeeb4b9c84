import * as z from 'zod/mini';
import { sectorBytes } from '../../block/block-device.ts';
import { SetupError } from '../../device/setup-error.ts';

/** Sectors that somebody says are bad. */
export interface BadRange {
  readonly sector: number;
  readonly sectorCount: number;
}

export type ListFormat = 'ddrescue' | 'badblocks' | 'json';

export interface ReadOptions {
  /** Where the text came from, for messages. */
  readonly path: string;
  readonly format: ListFormat | undefined;
  /** Of `badblocks`. */
  readonly blockBytes: number;
  /** Nothing may lie behind it. */
  readonly deviceSectors: number;
}

/** Ranges behind joining: each is a message, and each lost range takes room on the spare, where there is some for 65 536. */
export const badRangesMax = 65_536;

/** The bad sectors of a list, ascending and joined. Throws `SetupError` usage, which names the line. */
export function readBadRanges(text: string, options: ReadOptions): readonly BadRange[] {
  const format = options.format ?? guessFormat(text);
  const read = { ddrescue: readMapfile, badblocks: readBlockNumbers, json: readJsonTable }[format];
  const ranges = joined(read(text, options));
  const last = ranges.at(-1);
  if (last !== undefined && last.sector + last.sectorCount > options.deviceSectors) {
    throw wrong(
      options,
      undefined,
      `sector ${last.sector + last.sectorCount - 1}`,
      `less than ${options.deviceSectors}, the device's sectors`,
    );
  }
  if (ranges.length > badRangesMax) {
    throw wrong(
      options,
      undefined,
      `${ranges.length} ranges`,
      `at most ${badRangesMax}: a disk with more is to be copied, not repaired`,
    );
  }
  return ranges;
}

/** A mapfile says its positions in hexadecimal, JSON begins with a brace; a list of blocks is only numbers. */
function guessFormat(text: string): ListFormat {
  if (/^\s*\{/.test(text)) return 'json';
  return /^\s*0x/m.test(text) || /^# Mapfile/m.test(text) ? 'ddrescue' : 'badblocks';
}

/**
 * Of GNU ddrescue's manual, "Mapfile structure": comments, a line of three words (a rescue that is under way), then
 * `POSITION SIZE STATUS` in bytes. `-` is bad; `*` and `/` are blocks that failed and were not looked into.
 */
function readMapfile(text: string, options: ReadOptions): BadRange[] {
  const ranges: BadRange[] = [];
  let sawCurrent = false;
  for (const { line, number } of linesOf(text)) {
    const words = line.split(/\s+/);
    if (!sawCurrent) {
      sawCurrent = true;
      if (words.length >= 2 && /^[?*/\-FG+]$/.test(words[1]!)) continue;
    }
    const [position, size, status] = words;
    const from = wholeBytes(position);
    const length = wholeBytes(size);
    if (from === undefined || length === undefined || status === undefined || !/^[?*/+-]$/.test(status)) {
      throw wrong(options, number, quoted(line), 'POSITION SIZE STATUS, as in 0x1000 0x200 -');
    }
    if (/^[*/-]$/.test(status) && length > 0) ranges.push(sectorsTouched(from, length));
  }
  return ranges;
}

function readBlockNumbers(text: string, options: ReadOptions): BadRange[] {
  return [...linesOf(text)].map(({ line, number }) => {
    const block = /^\d{1,16}$/.test(line) ? Number(line) * options.blockBytes : Number.NaN;
    if (Number.isSafeInteger(block)) return sectorsTouched(block, options.blockBytes);
    throw wrong(options, number, quoted(line), `the number of a block of ${options.blockBytes} bytes`);
  });
}

const sectorNumber = z.int().check(z.nonnegative());
const jsonTable = z.object({
  entries: z.array(z.object({ sector: sectorNumber, sectorCount: z.int().check(z.positive()) })),
});

/** What `export --format json` prints: all of it is bad on main. */
function readJsonTable(text: string, options: ReadOptions): BadRange[] {
  const expected = '{ "entries": [{ "sector": 0, "sectorCount": 1 }] }, as "export --format json" prints';
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw wrong(options, undefined, error instanceof Error ? error.message : 'no JSON', expected);
  }
  const checked = jsonTable.safeParse(parsed);
  if (checked.success) return checked.data.entries;
  throw wrong(options, undefined, 'other JSON', expected);
}

/** Without empty lines and comments; numbers from 1. */
function* linesOf(text: string): Generator<{ line: string; number: number }> {
  let number = 0;
  for (const raw of text.split('\n')) {
    number += 1;
    const line = raw.trim();
    if (line !== '' && !line.startsWith('#')) yield { line, number };
  }
}

function wholeBytes(word: string | undefined): number | undefined {
  if (word === undefined || !/^(0[xX][0-9a-fA-F]{1,14}|\d{1,16})$/.test(word)) return undefined;
  const value = Number(word);
  return Number.isSafeInteger(value) ? value : undefined;
}

function sectorsTouched(from: number, length: number): BadRange {
  const sector = Math.floor(from / sectorBytes);
  return { sector, sectorCount: Math.ceil((from + length) / sectorBytes) - sector };
}

function joined(ranges: readonly BadRange[]): BadRange[] {
  const result: BadRange[] = [];
  for (const range of ranges.toSorted((a, b) => a.sector - b.sector)) {
    const last = result.at(-1);
    if (last === undefined || range.sector > last.sector + last.sectorCount) result.push(range);
    else {
      const end = Math.max(last.sector + last.sectorCount, range.sector + range.sectorCount);
      result[result.length - 1] = { sector: last.sector, sectorCount: end - last.sector };
    }
  }
  return result;
}

function quoted(line: string): string {
  return JSON.stringify(line.length > 60 ? `${line.slice(0, 60)}…` : line);
}

function wrong({ path }: ReadOptions, line: number | undefined, what: string, expected: string): SetupError {
  const where = line === undefined ? path : `${path}: line ${line}`;
  return new SetupError('usage', `${where}: ${what}: expected ${expected}`);
}
