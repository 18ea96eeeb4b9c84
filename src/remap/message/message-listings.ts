import { sectorBytes } from '../../block/block-device.ts';
import { noSlot, StateCause, StateFlags } from '../../metadata/mapping-state.ts';
import type { RemapCore } from '../remap-core.ts';
import type { RemapStatus } from '../remap-status.ts';
import type { GranuleState } from '../table/granule-table.ts';
import { type ByteRun, runsOf, sectorMask } from '../table/sector-mask.ts';
import { lookAtTable } from '../table/table-walk.ts';
import { granulesOf, type SectorRange, wholeDevice } from './message-words.ts';

/** Lines of one listing, more only by those of one granule; a last line says that there are more. */
export const listLinesMax = 10_000;

/** `MAIN-SECTOR COUNT SPARE-SECTOR CAUSE [FLAGS]` of each run of held sectors. */
export function listText(core: RemapCore): Promise<string> {
  return linesOf(core, (state) => {
    if (state.slot === noSlot) return [];
    return runsOf(state.held).map(
      (run) => `${sectorsText(core, state, run)} ${spareSector(core, state, run)} ${causeAndFlags(state)}`,
    );
  });
}

/** `MAIN-SECTOR COUNT unreadable|suspect|gone` of each run of sectors without bytes. */
export function lostText(core: RemapCore): Promise<string> {
  return linesOf(core, (state) => [
    ...runsOf(state.unreadable).map((run) => `${sectorsText(core, state, run)} ${unreadableWord(state)}`),
    ...runsOf(state.gone).map((run) => `${sectorsText(core, state, run)} gone`),
  ]);
}

/** One run of sectors with the same answer to "where are they?". */
interface QueryLine {
  readonly sector: number;
  readonly sectorCount: number;
  readonly what: string;
}

/** Where each sector of a range is: `SECTOR COUNT main|unreadable|suspect|gone`, `SECTOR COUNT spare SECTOR CAUSE [FLAGS]`. */
export async function queryText(core: RemapCore, range: SectorRange): Promise<string> {
  const lines: QueryLine[] = [];
  const end = range.sector + range.sectorCount;
  let at = range.sector;
  await lookAtTable(core, granulesOf(core, range), (state) => {
    for (const run of queryRuns(core, state, range)) {
      addLine(lines, at, run.sector - at, 'main');
      addLine(lines, run.sector, run.sectorCount, run.what);
      at = run.sector + run.sectorCount;
    }
    return lines.length < listLinesMax ? 'go-on' : 'enough';
  });
  if (lines.length < listLinesMax) addLine(lines, at, end - at, 'main');
  const texts = lines.map(({ sector, sectorCount, what }) => `${sector} ${sectorCount} ${what}`);
  if (lines.length >= listLinesMax && at < end) texts.push(`next ${at} ${end - at}`);
  return texts.join('\n');
}

function addLine(lines: QueryLine[], sector: number, sectorCount: number, what: string): void {
  if (sectorCount <= 0) return;
  const last = lines.at(-1);
  if (last?.what === what && last.sector + last.sectorCount === sector) {
    lines[lines.length - 1] = { ...last, sectorCount: last.sectorCount + sectorCount };
  } else lines.push({ sector, sectorCount, what });
}

/** What is special of one granule inside the range, ascending. */
function queryRuns(core: RemapCore, state: GranuleState, range: SectorRange): QueryLine[] {
  const start = (state.granule * core.parts.granuleBytes) / sectorBytes;
  const from = Math.max(0, range.sector - start) * sectorBytes;
  const to = Math.min(core.parts.granuleBytes, (range.sector + range.sectorCount - start) * sectorBytes);
  const inside = sectorMask(from, to);
  const line = (run: ByteRun, what: string): QueryLine => ({
    sector: start + run.from / sectorBytes,
    sectorCount: (run.to - run.from) / sectorBytes,
    what,
  });
  return [
    ...runsOf((state.held & inside) >>> 0).map((run) =>
      line(run, `spare ${spareSector(core, state, run)} ${causeAndFlags(state)}`),
    ),
    ...runsOf((state.unreadable & inside) >>> 0).map((run) => line(run, unreadableWord(state))),
    ...runsOf((state.gone & inside) >>> 0).map((run) => line(run, 'gone')),
  ].sort((a, b) => a.sector - b.sector);
}

/** `NAME VALUE` a line. */
export function statsText(status: RemapStatus): string {
  const { metadata, counters, policies, ...rest } = status;
  const all: [string, string | number | boolean][] = [
    ...Object.entries(rest),
    ...Object.entries(counters),
    ...named('policy.', policies),
    ...named('metadata.', metadata),
  ];
  return all.map(([name, value]) => `${name} ${value}`).join('\n');
}

function named(prefix: string, values: object): [string, string | number | boolean][] {
  return Object.entries(values).map(([name, value]): [string, string | number | boolean] => [
    `${prefix}${name}`,
    value,
  ]);
}

const secondsPerDay = 86_400;
/** Moves of the last days say how fast the spare fills. */
const forecastDays = 7;

/** Slots of the spare, `NAME VALUE` a line, and in how many days it is full when it goes on like the last week. */
export async function spareText(core: RemapCore): Promise<string> {
  const { allocator, clock } = core.parts;
  const since = clock.unixMs() / 1000 - forecastDays * secondsPerDay;
  let recent = 0;
  await lookAtTable(core, granulesOf(core, wholeDevice(core)), (state) => {
    if (state.slot !== noSlot && state.unixSeconds >= since) recent += 1;
    return 'go-on';
  });
  const days = recent === 0 ? 'none' : String(Math.floor((allocator.freeSlots * forecastDays) / recent));
  return [
    `total ${allocator.usableSlots}`,
    `used ${allocator.usedSlots}`,
    `free ${allocator.freeSlots}`,
    `retired ${allocator.retiredSlots}`,
    `reserve ${allocator.reserveSlots}`,
    `granule-bytes ${core.parts.granuleBytes}`,
    `used-last-${forecastDays}-days ${recent}`,
    `full-in-days ${days}`,
  ].join('\n');
}

function unreadableWord(state: GranuleState): string {
  return (state.flags & StateFlags.suspect) === 0 ? 'unreadable' : 'suspect';
}

function causeAndFlags(state: GranuleState): string {
  const cause = Object.entries(StateCause).find(([, value]) => value === state.cause)?.[0] ?? 'unknown';
  return `${cause}${flagWords(state.flags)}`;
}

/** ` unverified`, or nothing. A flag without a word here is shown as its number. */
function flagWords(flags: number): string {
  const words: [string, number][] = [
    ['unverified', StateFlags.unverified],
    ['fresh-zero', StateFlags.freshZero],
    ['suspect', StateFlags.suspect],
  ];
  const known = words.filter(([, bit]) => (flags & bit) !== 0);
  const rest = known.reduce((left, [, bit]) => left & ~bit, flags);
  return [...known.map(([word]) => ` ${word}`), ...(rest === 0 ? [] : [` flags=${rest}`])].join('');
}

function spareSector(core: RemapCore, state: GranuleState, run: ByteRun): number {
  return (state.slot * core.parts.granuleBytes + run.from) / sectorBytes;
}

function sectorsText(core: RemapCore, state: GranuleState, run: ByteRun): string {
  const first = (state.granule * core.parts.granuleBytes + run.from) / sectorBytes;
  return `${first} ${(run.to - run.from) / sectorBytes}`;
}

async function linesOf(core: RemapCore, toLines: (state: GranuleState) => string[]): Promise<string> {
  const lines: string[] = [];
  let more = false;
  await lookAtTable(core, granulesOf(core, wholeDevice(core)), (state) => {
    more = lines.length >= listLinesMax;
    if (more) return 'enough';
    lines.push(...toLines(state));
    return 'go-on';
  });
  if (more) lines.push(`# the first ${lines.length} lines; stats has the totals`);
  return lines.join('\n');
}
