import type { RemapCore } from '../remap-core.ts';
import type { RemapStatus } from '../remap-status.ts';
import { clippedRun, joinedRun, type TableRun, tableRuns } from '../table/table-runs.ts';
import { lookAtTable } from '../table/table-walk.ts';
import { granulesOf, refuseWords, type SectorRange, wholeDevice } from './message-words.ts';

/** Lines of one listing, of `query` more only by those of one granule; a last line says that there are more. */
export const listLinesMax = 10_000;

/**
 * `MAIN-SECTOR COUNT SPARE-SECTOR CAUSE [FLAGS]` of each run of held sectors; neighbours that are neighbours on the spare too
 * are one line, but for `list blocks`, which has a line for each of every block.
 */
export function listText(core: RemapCore, words: readonly string[]): Promise<string> {
  const byBlock = words[0] === 'blocks' && words.length === 1;
  if (!byBlock) refuseWords('list', words);
  return listing(core, {
    joined: !byBlock,
    wanted: ({ place }) => place === 'spare',
    toText: (run) => `${run.sector} ${run.sectorCount} ${spareText(run)}`,
  });
}

/** `MAIN-SECTOR COUNT unreadable|suspect|gone` of each run of sectors without bytes. */
export function lostText(core: RemapCore): Promise<string> {
  return listing(core, {
    joined: true,
    wanted: ({ place }) => place !== 'spare' && place !== 'fresh-zero',
    toText: ({ sector, sectorCount, place }) => `${sector} ${sectorCount} ${place}`,
  });
}

/**
 * Where each sector of a range is: `SECTOR COUNT main|unreadable|suspect|fresh-zero|gone`, `SECTOR COUNT spare SPARE-SECTOR CAUSE
 * [FLAGS]`, joined as by `list`.
 */
export async function queryText(core: RemapCore, range: SectorRange): Promise<string> {
  const { granuleBytes } = core.parts;
  const lines: string[] = [];
  const end = range.sector + range.sectorCount;
  /** All before it is in `lines` or in `last`. */
  let at = range.sector;
  let last: TableRun | undefined;
  const tellLast = (): void => {
    if (last === undefined) return;
    lines.push(queryLine(last));
    last = undefined;
  };
  const tell = (run: TableRun): void => {
    const joined = joinedRun(last, run);
    if (joined === undefined) tellLast();
    if (run.sector > at) lines.push(`${at} ${run.sector - at} main`);
    last = joined ?? run;
    at = run.sector + run.sectorCount;
  };
  await lookAtTable(core, granulesOf(core, range), (state) => {
    for (const run of tableRuns(state, granuleBytes)) {
      const inside = clippedRun(run, range.sector, end);
      if (inside !== undefined) tell(inside);
    }
    return lines.length < listLinesMax ? 'go-on' : 'enough';
  });
  tellLast();
  if (at >= end) return lines.join('\n');
  lines.push(lines.length < listLinesMax ? `${at} ${end - at} main` : `next ${at} ${end - at}`);
  return lines.join('\n');
}

function queryLine(run: TableRun): string {
  const where = run.place === 'spare' ? `spare ${spareText(run)}` : run.place;
  return `${run.sector} ${run.sectorCount} ${where}`;
}

/** `SPARE-SECTOR CAUSE [FLAGS]` */
function spareText(run: TableRun): string {
  return [run.spareSector, run.cause, ...run.flags].join(' ');
}

interface Listing {
  readonly joined: boolean;
  readonly wanted: (run: TableRun) => boolean;
  readonly toText: (run: TableRun) => string;
}

async function listing(core: RemapCore, { joined, wanted, toText }: Listing): Promise<string> {
  const runs: TableRun[] = [];
  let more = false;
  await lookAtTable(core, granulesOf(core, wholeDevice(core)), (state) => {
    for (const run of tableRuns(state, core.parts.granuleBytes)) {
      if (!wanted(run)) continue;
      const longer = joined ? joinedRun(runs.at(-1), run) : undefined;
      more = longer === undefined && runs.length >= listLinesMax;
      if (more) return 'enough';
      if (longer === undefined) runs.push(run);
      else runs[runs.length - 1] = longer;
    }
    return 'go-on';
  });
  const lines = runs.map(toText);
  if (more) lines.push(`# the first ${lines.length} lines; stats has the totals`);
  return lines.join('\n');
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
