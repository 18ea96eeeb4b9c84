import { sectorBytes } from '../../block/block-device.ts';
import { formatBytes } from '../../block/byte-text.ts';
import { type Line, type Span, type Style, span } from './span.ts';

/** Sectors of one cell that are not where they always were. */
export interface MapCell {
  readonly moved: number;
  readonly unreadable: number;
  readonly freshZero: number;
  readonly gone: number;
}

/** A device as cells of one size, of which those that are not named are well. */
export interface DiskMap {
  readonly cellCount: number;
  readonly cellSectors: number;
  readonly cells: ReadonlyMap<number, MapCell>;
}

const healthyCell: MapCell = { moved: 0, unreadable: 0, freshZero: 0, gone: 0 };

/** The reply of the message `map`; undefined for a text that is none. */
export function parseMap(reply: string): DiskMap | undefined {
  const [head = '', ...lines] = reply.split('\n');
  const size = /^cells (\d+) sectors (\d+)$/.exec(head);
  if (size === null) return undefined;
  const cells = new Map<number, MapCell>();
  for (const line of lines) {
    const match = /^(\d+) moved (\d+) unreadable (\d+) fresh-zero (\d+) gone (\d+)$/.exec(line);
    if (match === null) return undefined;
    const [at = 0, moved = 0, unreadable = 0, freshZero = 0, gone = 0] = match.slice(1).map(Number);
    cells.set(at, { moved, unreadable, freshZero, gone });
  }
  return { cellCount: Number(size[1]), cellSectors: Number(size[2]), cells };
}

/** The same with at most so many cells: neighbours become one. */
export function withCells(map: DiskMap, cellsMax: number): DiskMap {
  const joined = Math.ceil(map.cellCount / Math.max(1, cellsMax));
  if (joined <= 1) return map;
  const cells = new Map<number, MapCell>();
  for (const [at, cell] of map.cells) {
    const place = Math.floor(at / joined);
    const before = cells.get(place) ?? healthyCell;
    cells.set(place, {
      moved: before.moved + cell.moved,
      unreadable: before.unreadable + cell.unreadable,
      freshZero: before.freshZero + cell.freshZero,
      gone: before.gone + cell.gone,
    });
  }
  return {
    cellCount: Math.ceil(map.cellCount / joined),
    cellSectors: map.cellSectors * joined,
    cells,
  };
}

interface Mark {
  readonly letter: string;
  readonly style: Style;
  readonly meaning: string;
}

/** The worst first: a cell has the letter of the worst sector in it. */
const marks: readonly (Mark & { readonly of: (cell: MapCell) => boolean })[] = [
  { letter: 'G', style: 'lost', meaning: 'gone', of: ({ gone }) => gone > 0 },
  { letter: 'U', style: 'bad', meaning: 'unreadable', of: ({ unreadable }) => unreadable > 0 },
  { letter: 'z', style: 'faint', meaning: 'bad, unwritten', of: ({ freshZero }) => freshZero > 0 },
  { letter: 'm', style: 'moved', meaning: 'moved', of: ({ moved }) => moved > 0 },
];
const healthyMark: Mark = { letter: '.', style: 'good', meaning: 'healthy' };

/** `map, 32 KiB a cell:  . healthy  m moved …` */
export function mapLegend(map: DiskMap): Line {
  const size = formatBytes(map.cellSectors * sectorBytes);
  const parts = [healthyMark, ...[...marks].reverse()].flatMap(({ letter, style, meaning }) => [
    span('  '),
    span(letter, style),
    span(` ${meaning}`),
  ]);
  return [span(`map, ${size} a cell:`), ...parts];
}

/** The cells in rows of `columns`, neighbours of one mark as one piece. */
export function mapLines(map: DiskMap, columns: number): Line[] {
  const lines: Line[] = [];
  for (let start = 0; start < map.cellCount; start += columns) {
    const end = Math.min(map.cellCount, start + columns);
    const pieces: Span[] = [];
    for (let at = start; at < end; at += 1) {
      const { letter, style } = markOf(map.cells.get(at) ?? healthyCell);
      const last = pieces.at(-1);
      if (last?.style === style) pieces[pieces.length - 1] = span(last.text + letter, style);
      else pieces.push(span(letter, style));
    }
    lines.push(pieces);
  }
  return lines;
}

function markOf(cell: MapCell): Mark {
  return marks.find(({ of }) => of(cell)) ?? healthyMark;
}
