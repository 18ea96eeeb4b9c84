import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import type { DeviceLab } from './device-lab.ts';

/** First sector and number of sectors. */
export type BadRun = readonly [sector: number, count: number];

const sectorsPerGranule = 8;

/** `count` single bad sectors at chance places from `firstSector` on, ascending, no two of them the same. */
export function spreadBadSectors(
  seed: string,
  count: number,
  firstSector: number,
  endSector: number,
): BadRun[] {
  const random = new SeededRandom(seed);
  const sectors = new Set<number>();
  while (sectors.size < count) sectors.add(firstSector + random.below(endSector - firstSector));
  return [...sectors].toSorted((left, right) => left - right).map((sector) => [sector, 1]);
}

/** The blocks of 4 KiB with a bad sector in them: what must be remapped when all of the disk is written. */
export function badGranules(runs: readonly BadRun[]): number[] {
  const granules = runs.flatMap(([sector, count]) =>
    Array.from({ length: count }, (_, index) => Math.floor((sector + index) / sectorsPerGranule)),
  );
  return [...new Set(granules)].toSorted((left, right) => left - right);
}

/** The blocks that the device says are on the spare. */
export function remappedGranules(lab: DeviceLab, name: string): Promise<number[]> {
  return listedGranules(lab, name, /./);
}

/** Those of them that were moved untested, because the time of the request was over (R19): a listed superset. */
export function unverifiedGranules(lab: DeviceLab, name: string): Promise<number[]> {
  return listedGranules(lab, name, / unverified\b/);
}

async function listedGranules(lab: DeviceLab, name: string, wanted: RegExp): Promise<number[]> {
  const list = await lab.mustRun('message', name, '0', 'list');
  const granules = list
    .split('\n')
    .filter((line) => wanted.test(line))
    .flatMap((line) => {
      const [sector, count] = line.split(' ').map(Number);
      return badGranules([[sector!, count!]]);
    });
  return [...new Set(granules)].toSorted((left, right) => left - right);
}

/** What `status` counts; not derived from `list`. */
export async function remapCount(lab: DeviceLab, name: string): Promise<number> {
  const status: { remap: { remappedGranules: number } } = JSON.parse(
    await lab.mustRun('status', name, '--json'),
  );
  return status.remap.remappedGranules;
}

/** The export of a device as other programs name it. */
export function exportUri(lab: DeviceLab, name: string): string {
  return `nbd+unix:///${name}?socket=${lab.runtime}/${name}/nbd.sock`;
}
