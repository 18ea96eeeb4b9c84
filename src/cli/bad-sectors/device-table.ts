import { sectorBytes } from '../../block/block-device.ts';
import { SetupError } from '../../device/setup-error.ts';
import { readSpareTable } from '../../device/spare/spare-table.ts';
import { type FoundDevice, findDevice } from '../find-device.ts';
import type { SectorPlace, SectorRun, SectorTable } from './sector-table.ts';

/** Each reply tells of at least one more run; more than a table has granules would be a bug of ours. */
const repliesMax = 1_000_000;

/** The table of a device that is served. Throws `SetupError` and `ControlError`. */
export async function tableOfDevice(name: string): Promise<SectorTable> {
  const device = findDevice(name);
  const status = await device.client.status();
  if (status.spare === null) {
    throw new SetupError(
      'refused',
      `${name}: without its spare it has only a copy of the table, which may be older`,
    );
  }
  return {
    name: status.name,
    uuid: status.uuid,
    sizeBytes: status.sizeBytes,
    logicalBlockBytes: status.logicalBlockBytes,
    granuleBytes: status.remap.granuleBytes,
    mainPath: status.main.path,
    sparePath: status.spare.path,
    runs: await queriedRuns(device, status.sizeBytes / sectorBytes),
  };
}

/** The table on a spare. Throws `SetupError`. */
export async function tableOfSpare(path: string, force: boolean): Promise<SectorTable & { inUse: boolean }> {
  const table = await readSpareTable(path, force);
  const runs = table.runs.map(
    ({ sector, sectorCount, place, spareSector, cause, flags }): SectorRun => ({
      sector,
      sectorCount,
      place: place === 'spare' ? 'remapped' : place,
      spareSector: spareSector ?? null,
      cause: place === 'spare' ? cause : null,
      flags,
    }),
  );
  return { ...table, runs };
}

/** By the message `query`, in as many pieces as the device makes of it. */
async function queriedRuns({ client }: FoundDevice, sectors: number): Promise<readonly SectorRun[]> {
  const runs: SectorRun[] = [];
  let words = ['query', '0', String(sectors)];
  for (let replies = 0; replies < repliesMax; replies += 1) {
    const lines = (await client.message(0, words)).reply.split('\n');
    let next: string[] | undefined;
    for (const line of lines) {
      if (line.startsWith('next ')) next = line.split(' ').slice(1);
      else addRun(runs, line);
    }
    if (next === undefined) return runs;
    words = ['query', ...next];
  }
  throw new SetupError('failed', 'the device never comes to the end of its table');
}

const places: ReadonlyMap<string, SectorPlace> = new Map<string, SectorPlace>([
  ['spare', 'remapped'],
  ['unreadable', 'unreadable'],
  ['suspect', 'suspect'],
  ['fresh-zero', 'fresh-zero'],
  ['gone', 'gone'],
]);

/** `SECTOR COUNT main|unreadable|suspect|fresh-zero|gone`, `SECTOR COUNT spare SPARE-SECTOR CAUSE [FLAGS]`. */
function addRun(runs: SectorRun[], line: string): void {
  const [sector, sectorCount, where = '', spareSector, cause, ...flags] = line.split(' ');
  if (where === 'main') return;
  const place = places.get(where);
  if (place === undefined) {
    throw new SetupError(
      'failed',
      `the device says '${line}', which this version does not know; use the version of the device`,
    );
  }
  runs.push({
    sector: Number(sector),
    sectorCount: Number(sectorCount),
    place,
    spareSector: spareSector === undefined ? null : Number(spareSector),
    cause: cause ?? null,
    flags,
  });
}
