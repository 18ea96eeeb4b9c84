/**
 * What SMART says of a disk, the same for ATA, SAS and NVMe: counts that only ever tell of trouble, each growing with it.
 * `control/health/` reads them, the rules here judge them.
 */

/** In the order in which people are shown them. ATA's numbers in brackets. */
export const smartCounters = {
  /** [5]; SAS: grown defect list. Sectors that the disk itself replaced. */
  reallocatedSectors: 'sectors that the disk itself has replaced (5)',
  /** [187] Errors that the disk could not correct and told its host of. */
  reportedUncorrectable: 'errors that the disk could not correct (187)',
  /** [188] Commands that were given up. */
  commandTimeouts: 'commands given up for want of an answer (188)',
  /** [197] Sectors that the disk could not read, and has not replaced yet. */
  pendingSectors: 'sectors that the disk cannot read (197)',
  /** [198] The same, found by its own scans. */
  offlineUncorrectable: 'sectors that its own scan could not read (198)',
  /** [199] Checksum errors between disk and controller: cable, connector, power. */
  linkErrors: 'checksum errors between disk and controller (199)',
  /** NVMe: media and data integrity errors; SAS: uncorrected errors of reads, writes and verifies. */
  mediaErrors: 'errors of the medium that were not corrected',
  /** NVMe: percent of its spare blocks that are used. */
  spareBlocksUsedPercent: 'percent of its own spare blocks used',
  /** NVMe: of the writes that its maker promises, percent; may go past 100. */
  wearPercent: 'percent of its promised writes used',
  /** NVMe: the power went without a warning. Says nothing of the disk. */
  unsafeShutdowns: 'times it lost its power without warning',
} as const;

export type SmartCounter = keyof typeof smartCounters;

export const smartCounterNames: readonly SmartCounter[] = [
  'reallocatedSectors',
  'reportedUncorrectable',
  'commandTimeouts',
  'pendingSectors',
  'offlineUncorrectable',
  'linkErrors',
  'mediaErrors',
  'spareBlocksUsedPercent',
  'wearPercent',
  'unsafeShutdowns',
];

/** Those that an operator is told of when they grow: wear grows with every write, and a power cut is no news from the disk. */
export const alertCounters: readonly SmartCounter[] = smartCounterNames.filter(
  (name) => name !== 'wearPercent' && name !== 'unsafeShutdowns',
);

export type SmartCounts = Readonly<Partial<Record<SmartCounter, number>>>;

/** One disk at one time. */
export interface SmartReading {
  readonly model: string;
  readonly serial: string;
  readonly unixSeconds: number;
  /** The disk says of itself that it is failing. */
  readonly failing: boolean;
  /** An attribute that foretells failure is at its threshold. */
  readonly belowThreshold: boolean;
  /** Hotter than its maker allows. */
  readonly hot: boolean;
  readonly counters: SmartCounts;
}

/** A count that grew between two readings. */
export interface SmartIncrease {
  readonly counter: SmartCounter;
  readonly from: number;
  readonly to: number;
}

/** Alerts are about what grew; a count that was not there before has nothing to grow from. */
export function increasesBetween(before: SmartReading, now: SmartReading): readonly SmartIncrease[] {
  if (before.serial !== now.serial || before.model !== now.model) return [];
  return alertCounters.flatMap((counter) => {
    const from = before.counters[counter];
    const to = now.counters[counter];
    return from !== undefined && to !== undefined && to > from ? [{ counter, from, to }] : [];
  });
}
