import { sectorBytes } from '../src/block/block-device.ts';
import type { SectorRun } from './bad-sectors.ts';

/** What a part of the disk is like; the worst thing in it counts. */
export const CellState = { healthy: 0, moved: 1, lost: 2 } as const;
export type CellState = (typeof CellState)[keyof typeof CellState];

export interface DiskMap {
  readonly sectorCount: number;
  readonly moved: readonly SectorRun[];
  readonly lost: readonly SectorRun[];
}

export interface MapStyle {
  readonly columns: number;
  /** What stands for a cell of each state, by its number. */
  readonly glyphs: readonly [string, string, string];
}

export const plainGlyphs: MapStyle['glyphs'] = ['.', '#', '!'];
/** For terminals: the moved ones green, the lost ones red. */
export const colouredGlyphs: MapStyle['glyphs'] = ['.', '\u001b[1;32m#\u001b[0m', '\u001b[1;31m!\u001b[0m'];

const mebibyte = 1024 * 1024;

/** The disk as lines of cells of one mebibyte, each line with the place of its first cell. */
export function drawDiskMap(map: DiskMap, style: MapStyle): string[] {
  const states = cellStates(map);
  const digits = String(states.length).length;
  const lines: string[] = [];
  for (let first = 0; first < states.length; first += style.columns) {
    const cells = states.slice(first, first + style.columns).map((state) => style.glyphs[state]);
    lines.push(`${String(first).padStart(digits)} MiB |${cells.join('')}|`);
  }
  const [healthy, moved, lost] = style.glyphs;
  lines.push(`${' '.repeat(digits)}      ${healthy} works   ${moved} moved to the spare   ${lost} lost`);
  return lines;
}

/** The state of each mebibyte; the last one may be cut. */
export function cellStates(map: DiskMap): CellState[] {
  const cellSectors = mebibyte / sectorBytes;
  const states: CellState[] = Array.from({ length: Math.ceil(map.sectorCount / cellSectors) }, () => 0);
  const mark = (runs: readonly SectorRun[], state: CellState): void => {
    for (const [sector, count] of runs) {
      const last = Math.floor((sector + count - 1) / cellSectors);
      for (let cell = Math.floor(sector / cellSectors); cell <= last; cell += 1) states[cell] = state;
    }
  };
  mark(map.moved, CellState.moved);
  mark(map.lost, CellState.lost);
  return states;
}

/** The first two numbers of each line that `message NAME 0 list` or `lost` answers: sector and count. */
export function parseSectorRuns(text: string): SectorRun[] {
  return text.split('\n').flatMap((line): SectorRun[] => {
    const match = /^(\d+) (\d+) /.exec(line);
    return match === null ? [] : [[Number(match[1]), Number(match[2])]];
  });
}
