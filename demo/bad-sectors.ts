import { sectorBytes } from '../src/block/block-device.ts';

/** First sector and number of sectors. */
export type SectorRun = readonly [sector: number, count: number];

/** Two maps from the test suite of the kernel target that dm-remap follows: a general one, and a pair near the start. */
export const fiveSpread: readonly SectorRun[] = [
  [50000, 1],
  [50001, 1],
  [75000, 1],
  [100000, 1],
  [150000, 1],
];
export const lowPair: readonly SectorRun[] = [[1000, 2]];

/** What is wrong with a disk, by how it is wrong. */
export interface DiskFaults {
  readonly sectorCount: number;
  /** Reads and writes of these fail, for ever. */
  readonly dead: readonly SectorRun[];
  /** First sector of the part where reads can fail; it goes to the end of the disk. */
  readonly unreadableFrom: number;
  /** Reads of these fail until they are written. Whole sectors behind `unreadableFrom`. */
  readonly unreadable: readonly number[];
}

/** The maps twice: dead in the first half of the disk, unreadable at the same places of the second half. */
export function demoFaults(sizeBytes: number, blockBytes: number): DiskFaults {
  const sectorCount = sizeBytes / sectorBytes;
  const unreadableFrom = sectorCount / 2;
  const runs = [...lowPair, ...fiveSpread];
  return {
    sectorCount,
    dead: wholeBlocks(runs, blockBytes / sectorBytes),
    unreadableFrom,
    unreadable: sectorsOf(runs).map((sector) => unreadableFrom + sector),
  };
}

/** A file system with blocks of 4 KiB for direct I/O cannot have a dead sector beside a good one. */
function wholeBlocks(runs: readonly SectorRun[], blockSectors: number): SectorRun[] {
  const blocks = sectorsOf(runs).map((sector) => Math.floor(sector / blockSectors) * blockSectors);
  const merged: SectorRun[] = [];
  for (const sector of [...new Set(blocks)].toSorted((left, right) => left - right)) {
    const [start, count] = merged.at(-1) ?? [-1, 0];
    if (start + count === sector) merged[merged.length - 1] = [start, count + blockSectors];
    else merged.push([sector, blockSectors]);
  }
  return merged;
}

export function sectorsOf(runs: readonly SectorRun[]): number[] {
  return runs.flatMap(([sector, count]) => Array.from({ length: count }, (_, index) => sector + index));
}

/** The disk as a device-mapper table over `path`: `error` where it is dead, `dust` where reads can fail. */
export function faultTable(faults: DiskFaults, path: string): string {
  const lines: string[] = [];
  let next = 0;
  for (const [sector, count] of faults.dead) {
    if (sector > next) lines.push(`${next} ${sector - next} linear ${path} ${next}`);
    lines.push(`${sector} ${count} error`);
    next = sector + count;
  }
  lines.push(`${next} ${faults.unreadableFrom - next} linear ${path} ${next}`);
  const rest = faults.sectorCount - faults.unreadableFrom;
  lines.push(`${faults.unreadableFrom} ${rest} dust ${path} ${faults.unreadableFrom} ${sectorBytes}`);
  return `${lines.join('\n')}\n`;
}
