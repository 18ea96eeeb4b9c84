import { sectorBytes } from '../block/block-device.ts';
import type { TargetRegistry } from './registry.ts';
import { TargetError, type TargetErrorCode } from './target-error.ts';

/** One line of a table: sectors of 512 bytes, as `dmsetup` counts. */
export interface TableSegment {
  readonly startSector: number;
  readonly sectorCount: number;
  readonly target: string;
  readonly words: readonly string[];
}

/** 2^53 - 1 bytes: what a number holds exactly. */
export const tableSectorsMax: number = Math.floor(Number.MAX_SAFE_INTEGER / sectorBytes);

/** Room for 200 000 single bad sectors; parsing a table of that length takes 0.4 s. */
export const tableSegmentsMax = 400_000;

/** Characters. Two paths of PATH_MAX and their options. */
export const tableLineLengthMax = 12_288;

/**
 * Reads a table as `dmsetup create` takes it: `START LENGTH TARGET ARGS…`, a line a segment, from sector 0 without gaps.
 * Lines that are blank or begin with `#` do not count. A backslash takes the next character as it is (dm_split_args in
 * drivers/md/dm-table.c), so that paths may contain blanks. Throws `TargetError`, one line, naming the line.
 */
export function parseTable(text: string, registry: TargetRegistry): TableSegment[] {
  const segments: TableSegment[] = [];
  let nextSector = 0;
  let lineNumber = 0;
  for (const line of text.split('\n')) {
    lineNumber += 1;
    const trimmed = line.trimStart();
    if (trimmed === '' || trimmed.startsWith('#')) continue;
    const complaint = new LineComplaint(lineNumber);
    if (line.length > tableLineLengthMax) {
      throw complaint.of('TABLE_TOO_LONG', `${line.length} characters, at most ${tableLineLengthMax}`);
    }
    if (segments.length === tableSegmentsMax) {
      throw complaint.of('TABLE_TOO_LONG', `a table has at most ${tableSegmentsMax} segments`);
    }
    const segment = parseLine(splitWords(line, complaint), registry, complaint);
    checkPlace(segment, nextSector, complaint);
    segments.push(segment);
    nextSector = segment.startSector + segment.sectorCount;
  }
  if (segments.length === 0) {
    throw new TargetError('TABLE_EMPTY', 'the table is empty, expected lines of START LENGTH TARGET ARGS');
  }
  return segments;
}

/** The table as text that `parseTable` reads back to the same segments. */
export function formatTable(segments: readonly TableSegment[]): string {
  return segments.map((segment) => `${formatSegment(segment)}\n`).join('');
}

/** One line of it, without its end. */
export function formatSegment(segment: TableSegment): string {
  const words = [segment.target, ...segment.words.map(escapeWord)];
  return `${segment.startSector} ${segment.sectorCount} ${words.join(' ')}`;
}

/** A word as a table line holds it. Throws `TargetError` for what no line can hold: nothing, or the end of a line. */
export function escapeWord(word: string): string {
  if (word === '' || word.includes('\n')) {
    throw new TargetError(
      'TABLE_SYNTAX',
      'table: a word is empty or contains a line feed, no line can hold it',
    );
  }
  return word.replaceAll(/[\s\\]/g, (character) => `\\${character}`);
}

/** A number of sectors in a table line or a message, up to `tableSectorsMax`; undefined when it is none. */
export function parseSectorNumber(word: string): number | undefined {
  if (!/^\d{1,20}$/.test(word)) return undefined;
  const value = Number(word);
  return value <= tableSectorsMax ? value : undefined;
}

/** Errors of one line. */
class LineComplaint {
  readonly #lineNumber: number;

  constructor(lineNumber: number) {
    this.#lineNumber = lineNumber;
  }

  of(code: TargetErrorCode, message: string): TargetError {
    return new TargetError(code, `table line ${this.#lineNumber}: ${message}`);
  }
}

function splitWords(line: string, complaint: LineComplaint): string[] {
  const words: string[] = [];
  let word: string | undefined;
  for (let index = 0; index < line.length; index += 1) {
    const character = line[index]!;
    if (character === '\\') {
      index += 1;
      if (index === line.length) {
        throw complaint.of('TABLE_SYNTAX', 'ends with a backslash, expected a character behind it');
      }
      word = (word ?? '') + line[index]!;
    } else if (/\s/.test(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? '') + character;
    }
  }
  if (word !== undefined) words.push(word);
  return words;
}

function parseLine(
  words: readonly string[],
  registry: TargetRegistry,
  complaint: LineComplaint,
): TableSegment {
  const [start, length, target, ...rest] = words;
  if (start === undefined || length === undefined || target === undefined) {
    throw complaint.of('TABLE_SYNTAX', `has ${words.length} words, expected START LENGTH TARGET ARGS`);
  }
  const segment: TableSegment = {
    startSector: sectors('START', start, complaint),
    sectorCount: sectors('LENGTH', length, complaint),
    target,
    words: rest,
  };
  const type = registry.find(target);
  if (type === undefined) {
    const known = registry.names.join(', ');
    throw complaint.of('TABLE_UNKNOWN_TARGET', `unknown target ${target}, expected one of ${known}`);
  }
  if (rest.length < type.argumentCountMin || rest.length > type.argumentCountMax) {
    const usage = `${target} ${type.usage}`.trimEnd();
    throw complaint.of('TABLE_ARGUMENT_COUNT', `${rest.length} arguments, expected ${usage}`);
  }
  return segment;
}

function sectors(what: string, word: string, complaint: LineComplaint): number {
  const value = parseSectorNumber(word);
  if (value !== undefined) return value;
  const expected = `a number of 512-byte sectors up to ${tableSectorsMax}`;
  throw complaint.of('TABLE_NUMBER', `${what} is ${word}, expected ${expected}`);
}

function checkPlace(segment: TableSegment, nextSector: number, complaint: LineComplaint): void {
  const { startSector, sectorCount } = segment;
  if (sectorCount === 0) throw complaint.of('TABLE_ZERO_LENGTH', 'LENGTH is 0, expected at least one sector');
  if (nextSector === 0 && startSector !== 0) {
    throw complaint.of('TABLE_START', `starts at sector ${startSector}, the first segment starts at 0`);
  }
  if (startSector !== nextSector) {
    const code = startSector > nextSector ? 'TABLE_GAP' : 'TABLE_OVERLAP';
    const what = startSector > nextSector ? 'leaves a gap' : 'overlaps the segment before it';
    throw complaint.of(code, `starts at sector ${startSector}, which ${what}, expected ${nextSector}`);
  }
  if (startSector + sectorCount > tableSectorsMax) {
    const end = startSector + sectorCount;
    throw complaint.of('TABLE_TOO_LONG', `ends at sector ${end}, at most ${tableSectorsMax}`);
  }
}
