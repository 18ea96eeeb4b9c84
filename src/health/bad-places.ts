/** Where on main the bad sectors are. */

/** How many sectors are bad between two, both included. */
export interface BadRegion {
  readonly first: number;
  readonly last: number;
  readonly sectors: number;
}

/** Regions nearer to each other than this part of main are one cluster. */
const clusterGapParts = 1000;
/** A cluster is a hot spot when it has at least this share of all bad sectors, … */
const hotSpotShare = 0.5;
/** … so many of them, … */
const hotSpotSectorsMin = 64;
/** … and is no larger than this part of main. */
const hotSpotPartMax = 0.05;

export interface BadPlaces {
  readonly clusters: number;
  /** Bad sectors in each tenth of main, from its start. */
  readonly tenths: readonly number[];
  /** Half of all bad sectors in one small place: a scratch, a crash of a head. */
  readonly hotSpot: BadRegion | null;
}

/** Cells in which main is looked at: the most that the message `map` gives. */
export const mapCells = 4096;

/** The reply of the message `map`, a region for each cell with bad sectors, ascending. Empty for any other text. */
export function regionsOfMap(text: string): readonly BadRegion[] {
  const [head = '', ...lines] = text.split('\n');
  const cellSectors = Number(/^cells \d+ sectors (\d+)$/.exec(head)?.[1] ?? 0);
  return lines.flatMap((line) => {
    const counts = (line.match(/\d+/g) ?? []).map(Number);
    const [at, ...bad] = counts;
    if (cellSectors === 0 || at === undefined) return [];
    const sectors = bad.reduce((sum, count) => sum + count, 0);
    return [{ first: at * cellSectors, last: (at + 1) * cellSectors - 1, sectors }];
  });
}

/** `regions` ascending. */
export function badPlacesOf(regions: readonly BadRegion[], mainSectors: number): BadPlaces {
  const clusters = clustersOf(regions, mainSectors / clusterGapParts);
  const all = regions.reduce((sum, { sectors }) => sum + sectors, 0);
  const tenths = Array.from({ length: 10 }, () => 0);
  for (const { first, last, sectors } of regions) {
    const tenth = Math.floor((10 * ((first + last) / 2)) / mainSectors);
    tenths[Math.max(0, Math.min(9, tenth))]! += sectors;
  }
  const hotSpot = clusters.find(
    ({ first, last, sectors }) =>
      sectors >= hotSpotSectorsMin &&
      sectors >= all * hotSpotShare &&
      last - first + 1 <= mainSectors * hotSpotPartMax,
  );
  return { clusters: clusters.length, tenths, hotSpot: hotSpot ?? null };
}

function clustersOf(regions: readonly BadRegion[], gapSectors: number): readonly BadRegion[] {
  const clusters: BadRegion[] = [];
  for (const region of regions) {
    const before = clusters.at(-1);
    if (before === undefined || region.first - before.last > gapSectors) clusters.push(region);
    else {
      const { first, sectors } = before;
      clusters[clusters.length - 1] = { first, last: region.last, sectors: sectors + region.sectors };
    }
  }
  return clusters;
}
