/** What one pass has read and found. */
export interface ScrubCounts {
  /** Bytes that main gave, and that the spare gave from slots. */
  mainBytes: number;
  spareBytes: number;
  /** Granules of which something did not come at once; of those: all came in the end; they were moved. */
  foundGranules: number;
  savedGranules: number;
  movedGranules: number;
  lostSectors: number;
  undecidedSectors: number;
  /** Granules that were slow twice; of those: moved for that. */
  slowGranules: number;
  slowMovedGranules: number;
  /** Replicas of the metadata that were bad; of those: written anew and good again. */
  badReplicas: number;
  repairedReplicas: number;
}

/** In the order in which they are stored, for ever; a new one goes to the end. */
const countNames = [
  'mainBytes',
  'spareBytes',
  'foundGranules',
  'savedGranules',
  'movedGranules',
  'lostSectors',
  'undecidedSectors',
  'slowGranules',
  'slowMovedGranules',
  'badReplicas',
  'repairedReplicas',
] as const satisfies readonly (keyof ScrubCounts)[];

export function newScrubCounts(): ScrubCounts {
  return {
    mainBytes: 0,
    spareBytes: 0,
    foundGranules: 0,
    savedGranules: 0,
    movedGranules: 0,
    lostSectors: 0,
    undecidedSectors: 0,
    slowGranules: 0,
    slowMovedGranules: 0,
    badReplicas: 0,
    repairedReplicas: 0,
  };
}

/** Numbers with blanks between; 0 at the end is left out. */
export function countsText(counts: Readonly<ScrubCounts>): string {
  return countNames
    .map((name) => String(counts[name]))
    .join(' ')
    .replace(/( 0)+$/, '');
}

/** What `countsText` gave; what is missing or no number is 0, what is too much belongs to a later program. */
export function parseCounts(words: readonly string[]): ScrubCounts {
  const counts = newScrubCounts();
  for (const [index, name] of countNames.entries()) counts[name] = wholeNumber(words[index]) ?? 0;
  return counts;
}

export function wholeNumber(word: string | undefined): number | undefined {
  if (word === undefined || !/^[0-9]{1,16}$/.test(word)) return undefined;
  const value = Number(word);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** Adds what was counted since `before`. */
export function addCounts(
  sum: ScrubCounts,
  counts: Readonly<ScrubCounts>,
  before: Readonly<ScrubCounts>,
): void {
  for (const name of countNames) sum[name] += counts[name] - before[name];
}
