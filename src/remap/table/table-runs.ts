import { sectorBytes } from '../../block/block-device.ts';
import { StateCause, StateFlags } from '../../metadata/mapping-state.ts';
import type { GranuleState } from './granule-table.ts';
import { type ByteRun, runsOf } from './sector-mask.ts';

/**
 * - `spare`       moved: the spare alone has its bytes
 * - `unreadable`  main could not read it and alone has its bytes
 * - `suspect`     as `unreadable`, by the word of another tool: main is asked once (R34)
 * - `fresh-zero`  main cannot read it and nobody ever wrote it: it reads as zeros (R13)
 * - `gone`        acknowledged bytes that only the spare had are lost
 */
export type RunPlace = 'spare' | 'unreadable' | 'suspect' | 'fresh-zero' | 'gone';

/** Sectors that follow each other, on the spare too, and of which the same is to be said. */
export interface TableRun {
  readonly sector: number;
  readonly sectorCount: number;
  readonly place: RunPlace;
  /** Of `spare`; undefined for the others. */
  readonly spareSector: number | undefined;
  /** A name of `StateCause`, or `unknown`. */
  readonly cause: string;
  /** Of `spare`: `unverified`, …; a flag without a name as `flags=NUMBER`. */
  readonly flags: readonly string[];
}

/** What is special in one granule, ascending. */
export function tableRuns(state: GranuleState, granuleBytes: number): readonly TableRun[] {
  const start = state.granule * granuleBytes;
  const cause = Object.entries(StateCause).find(([, value]) => value === state.cause)?.[0] ?? 'unknown';
  const run = ({ from, to }: ByteRun, place: RunPlace): TableRun => ({
    sector: (start + from) / sectorBytes,
    sectorCount: (to - from) / sectorBytes,
    place,
    spareSector: place === 'spare' ? (state.slot * granuleBytes + from) / sectorBytes : undefined,
    cause,
    flags: place === 'spare' ? flagWords(state.flags) : [],
  });
  return [
    ...runsOf(state.held).map((range) => run(range, 'spare')),
    ...runsOf(state.unreadable).map((range) => run(range, unreadablePlace(state))),
    ...runsOf(state.gone).map((range) => run(range, 'gone')),
  ].sort((a, b) => a.sector - b.sector);
}

/** The two as one, when `next` goes on where `run` ends and the same is to be said of it; else undefined. */
export function joinedRun(run: TableRun | undefined, next: TableRun): TableRun | undefined {
  if (run === undefined || run.place !== next.place || run.cause !== next.cause) return undefined;
  if (run.sector + run.sectorCount !== next.sector || run.flags.join() !== next.flags.join())
    return undefined;
  if (run.spareSector !== undefined && run.spareSector + run.sectorCount !== next.spareSector)
    return undefined;
  return { ...run, sectorCount: run.sectorCount + next.sectorCount };
}

/** The part of a run from `sector` up to, and without, `end`; undefined when nothing of it lies there. */
export function clippedRun(run: TableRun, sector: number, end: number): TableRun | undefined {
  const first = Math.max(run.sector, sector);
  const behind = Math.min(run.sector + run.sectorCount, end);
  if (first >= behind) return undefined;
  const spareSector = run.spareSector === undefined ? undefined : run.spareSector + first - run.sector;
  return { ...run, sector: first, sectorCount: behind - first, spareSector };
}

function unreadablePlace({ flags }: GranuleState): RunPlace {
  if ((flags & StateFlags.freshZero) !== 0) return 'fresh-zero';
  return (flags & StateFlags.suspect) === 0 ? 'unreadable' : 'suspect';
}

function flagWords(flags: number): readonly string[] {
  const words: [string, number][] = [
    ['unverified', StateFlags.unverified],
    ['fresh-zero', StateFlags.freshZero],
    ['suspect', StateFlags.suspect],
  ];
  const known = words.filter(([, bit]) => (flags & bit) !== 0);
  const rest = known.reduce((left, [, bit]) => left & ~bit, flags);
  return [...known.map(([word]) => word), ...(rest === 0 ? [] : [`flags=${rest}`])];
}
