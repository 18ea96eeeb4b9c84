import { countsText, parseCounts, type ScrubCounts, wholeNumber } from './scrub-counts.ts';
import { passesKeptMax } from './scrub-limits.ts';

/** How a pass ended: it came to the end of main, or somebody ended it before. */
export type PassEnd = 'finished' | 'stopped';

/** A pass that has ended. Seconds are since 1970-01-01 UTC. */
export interface EndedPass {
  readonly end: PassEnd;
  readonly startedUnixSeconds: number;
  readonly endedUnixSeconds: number;
  /** Of main; less than all of it when it was stopped. */
  readonly positionBytes: number;
  readonly counts: Readonly<ScrubCounts>;
}

/** A pass that goes on. */
export interface OpenPass {
  readonly isPaused: boolean;
  /** Why; empty while it is not. */
  readonly pauseReason: string;
  readonly startedUnixSeconds: number;
  /** All of main before it has been read, or is lost or moved. */
  readonly positionBytes: number;
  readonly counts: Readonly<ScrubCounts>;
}

/** What is kept of scrubs on the spare. */
export interface ScrubRecord {
  readonly pass: OpenPass | undefined;
  /** The newest first. */
  readonly ended: readonly EndedPass[];
}

/**
 * As property 5 of the superblock (M10): `pass` is `running|paused STARTED POSITION COUNTS…`, `reason` why it is paused,
 * `1`, `2`, … the ended ones, the newest first: `finished|stopped STARTED ENDED POSITION COUNTS…`.
 */
export function encodeScrubRecord({ pass, ended }: ScrubRecord): Readonly<Record<string, string>> {
  const texts: [string, string][] = [];
  if (pass !== undefined) {
    const { isPaused, startedUnixSeconds, positionBytes, counts, pauseReason } = pass;
    const state = isPaused ? 'paused' : 'running';
    texts.push(['pass', `${state} ${startedUnixSeconds} ${positionBytes} ${countsText(counts)}`]);
    if (pauseReason !== '') texts.push(['reason', pauseReason]);
  }
  for (const [index, one] of ended.slice(0, passesKeptMax).entries()) {
    const { end, startedUnixSeconds, endedUnixSeconds, positionBytes, counts } = one;
    const text = `${end} ${startedUnixSeconds} ${endedUnixSeconds} ${positionBytes} ${countsText(counts)}`;
    texts.push([String(index + 1), text]);
  }
  return Object.fromEntries(texts);
}

/** What cannot be understood is left out: it is no truth about any sector. */
export function decodeScrubRecord(record: Readonly<Record<string, string>>): ScrubRecord {
  const ended: EndedPass[] = [];
  for (let index = 1; index <= passesKeptMax; index += 1) {
    const one = decodeEnded(record[String(index)] ?? '');
    if (one !== undefined) ended.push(one);
  }
  return { pass: decodeOpen(record['pass'] ?? '', record['reason'] ?? ''), ended };
}

function decodeOpen(text: string, pauseReason: string): OpenPass | undefined {
  const [state, started, position, ...counts] = text.split(' ');
  const startedUnixSeconds = wholeNumber(started);
  const positionBytes = wholeNumber(position);
  if (state !== 'running' && state !== 'paused') return undefined;
  if (startedUnixSeconds === undefined || positionBytes === undefined) return undefined;
  const isPaused = state === 'paused';
  return { isPaused, pauseReason, startedUnixSeconds, positionBytes, counts: parseCounts(counts) };
}

function decodeEnded(text: string): EndedPass | undefined {
  const [end, started, ended, position, ...counts] = text.split(' ');
  const startedUnixSeconds = wholeNumber(started);
  const endedUnixSeconds = wholeNumber(ended);
  const positionBytes = wholeNumber(position);
  if (end !== 'finished' && end !== 'stopped') return undefined;
  if (startedUnixSeconds === undefined || endedUnixSeconds === undefined || positionBytes === undefined)
    return undefined;
  return { end, startedUnixSeconds, endedUnixSeconds, positionBytes, counts: parseCounts(counts) };
}
