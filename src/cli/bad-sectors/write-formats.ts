import { sectorBytes } from '../../block/block-device.ts';
import { escapeWord } from '../../mapping/table-syntax.ts';
import { badness, type ListOf, type SectorRun, type SectorTable } from './sector-table.ts';

/** A piece of a device of which one thing is to be said. */
interface Piece<T> {
  readonly sector: number;
  readonly sectorCount: number;
  readonly what: T;
}

/** The whole device in pieces that touch; runs for which `of` says nothing, and what no run covers, are `rest`. */
function pieces<T>(table: SectorTable, rest: T, of: (run: SectorRun) => T): Piece<T>[] {
  const found: Piece<T>[] = [];
  const add = (sector: number, sectorCount: number, what: T): void => {
    const last = found.at(-1);
    if (sectorCount === 0) return;
    if (last !== undefined && last.what === what) {
      found[found.length - 1] = { ...last, sectorCount: last.sectorCount + sectorCount };
    } else found.push({ sector, sectorCount, what });
  };
  let at = 0;
  for (const run of table.runs) {
    add(at, run.sector - at, rest);
    add(run.sector, run.sectorCount, of(run));
    at = run.sector + run.sectorCount;
  }
  add(at, table.sizeBytes / sectorBytes - at, rest);
  return found;
}

/** Of the mapfile of GNU ddrescue ("Mapfile structure" in its manual). */
const ddrescueStatus = { bad: '-', doubtful: '*', good: '+' } as const;

/** A mapfile of GNU ddrescue: `-` bad, `*` said to be bad and not yet asked for, `+` all else. */
export function ddrescueMapfile(table: SectorTable, of: ListOf, version: string): string {
  const lines = pieces<keyof typeof ddrescueStatus>(table, 'good', (run) => badness(run, of)).map(
    ({ sector, sectorCount, what }) =>
      `${hexBytes(sector)}  ${hexBytes(sectorCount)}  ${ddrescueStatus[what]}`,
  );
  return [
    `# Mapfile. Created by dm-remap ${version}: bad sectors of ${of === 'main' ? 'the main of ' : ''}${table.name}`,
    '# current_pos  current_status  current_pass',
    `${hexBytes(0)}     +               1`,
    '#      pos        size  status',
    ...lines,
  ].join('\n');
}

function hexBytes(sectors: number): string {
  return `0x${(sectors * sectorBytes).toString(16).toUpperCase().padStart(8, '0')}`;
}

/** As badblocks(8) prints them and `e2fsck -l` takes them: a number a line, of blocks with a bad or doubtful sector. */
export function badblocksList(table: SectorTable, of: ListOf, blockBytes: number): Iterable<string> {
  return badBlockNumbers(table, of, blockBytes / sectorBytes);
}

function* badBlockNumbers(table: SectorTable, of: ListOf, blockSectors: number): Generator<string> {
  let next = 0;
  for (const run of table.runs) {
    if (badness(run, of) === 'good') continue;
    const first = Math.max(next, Math.floor(run.sector / blockSectors));
    const last = Math.floor((run.sector + run.sectorCount - 1) / blockSectors);
    for (let block = first; block <= last; block += 1) yield String(block);
    next = Math.max(next, last + 1);
  }
}

/**
 * The device without dm-remap, to be read: a table for `dmsetup create --readonly`. What was moved is `linear` on the spare,
 * what gives no bytes is `error`, what was never written is `zero`. A `suspect` sector stays on main: nobody has asked for it.
 */
export function dmsetupTable(table: SectorTable): string {
  const lines: string[] = [];
  const add = (sector: number, sectorCount: number, words: string): void => {
    if (sectorCount > 0) lines.push(`${sector} ${sectorCount} ${words}`);
  };
  const onMain = (sector: number, end: number): void =>
    add(sector, end - sector, `linear ${escapeWord(table.mainPath)} ${sector}`);
  let at = 0;
  for (const run of table.runs) {
    if (run.place === 'suspect') continue;
    onMain(at, run.sector);
    add(run.sector, run.sectorCount, targetOf(run, table.sparePath));
    at = run.sector + run.sectorCount;
  }
  onMain(at, table.sizeBytes / sectorBytes);
  return lines.join('\n');
}

function targetOf(run: SectorRun, sparePath: string): string {
  if (run.place === 'remapped') return `linear ${escapeWord(sparePath)} ${run.spareSector}`;
  return run.place === 'fresh-zero' ? 'zero' : 'error';
}
