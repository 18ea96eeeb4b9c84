import type { DiskFacts } from './health-facts.ts';
import { countOf, type Rule } from './health-rule.ts';
import { type SmartCounter, smartCounters } from './smart-reading.ts';

function total(counter: SmartCounter): (facts: DiskFacts) => number {
  return ({ reading }) => reading.counters[counter] ?? 0;
}

function grown(counter: SmartCounter): (facts: DiskFacts) => number {
  return ({ recent }) => recent[counter] ?? 0;
}

function looksAtTotal(counter: SmartCounter): string {
  return smartCounters[counter];
}

function looksAtGrown(counter: SmartCounter): string {
  return `${smartCounters[counter]}: how many more in 7 days`;
}

function flag(isSet: (facts: DiskFacts) => boolean): (facts: DiskFacts) => number {
  return (facts) => (isSet(facts) ? 1 : 0);
}

/** What SMART says of one whole disk. Judged alike for main and spare: what the spare holds has no other copy. */
export const diskRules: readonly Rule<DiskFacts>[] = [
  {
    id: 'smart-failing',
    looksAt: 'the disk says of itself that it fails (NVMe: reliability degraded, or read-only)',
    measure: flag(({ reading }) => reading.failing),
    lowers: [],
    holds: [[1, 9]],
    advises: [[1, 'replace-now']],
    evidence: 'medium',
    says: () => 'says of itself that it is failing',
    source: '[smartctl] exit status bit 3; [NVMe] critical warning bits 2 and 3',
  },
  {
    id: 'smart-threshold',
    looksAt: 'an attribute that foretells failure is at its threshold (NVMe: spare blocks, or power backup)',
    measure: flag(({ reading }) => reading.belowThreshold),
    lowers: [],
    holds: [[1, 19]],
    advises: [[1, 'replace-now']],
    evidence: 'medium',
    says: () => 'has an attribute at the threshold that foretells failure',
    source: '[smartctl] exit status bit 4; [NVMe] critical warning bits 0 and 4',
  },
  {
    id: 'smart-pending',
    looksAt: looksAtTotal('pendingSectors'),
    measure: total('pendingSectors'),
    lowers: [
      [1, 10],
      [8, 15],
      [100, 25],
    ],
    advises: [[100, 'replace-soon']],
    evidence: 'medium',
    says: (count) => `${countOf(count, 'sector')} that it cannot read`,
    source: '16 times as likely to fail within 60 days [Google]; [Backblaze]',
  },
  {
    id: 'smart-pending-grows',
    looksAt: looksAtGrown('pendingSectors'),
    measure: grown('pendingSectors'),
    lowers: [
      [1, 5],
      [8, 15],
    ],
    advises: [[64, 'replace-now']],
    evidence: 'medium',
    says: (count) => `${countOf(count, 'more sector')} that it cannot read in 7 days`,
    source: 'the first 60 days after an error are the worst [Google]',
  },
  {
    id: 'smart-offline',
    looksAt: looksAtTotal('offlineUncorrectable'),
    measure: total('offlineUncorrectable'),
    lowers: [
      [1, 5],
      [8, 10],
      [100, 20],
    ],
    evidence: 'medium',
    says: (count) => `${countOf(count, 'sector')} that its own scan could not read`,
    source: '39 times as likely to fail within 60 days after the first scan error [Google]; [Backblaze]',
  },
  {
    id: 'smart-reallocated',
    looksAt: looksAtTotal('reallocatedSectors'),
    measure: total('reallocatedSectors'),
    lowers: [
      [1, 5],
      [10, 10],
      [100, 15],
      [1000, 25],
    ],
    advises: [[1000, 'replace-soon']],
    says: (count) => `${countOf(count, 'sector')} that the disk itself has replaced`,
    source: '14 times as likely to fail within 60 days [Google]; [Backblaze]',
  },
  {
    id: 'smart-reallocated-grows',
    looksAt: looksAtGrown('reallocatedSectors'),
    measure: grown('reallocatedSectors'),
    lowers: [
      [1, 5],
      [10, 15],
    ],
    advises: [
      [10, 'replace-soon'],
      [100, 'replace-now'],
    ],
    evidence: 'medium',
    says: (count) => `${countOf(count, 'more sector')} that the disk itself replaced in 7 days`,
    source: 'the first 60 days after an error are the worst [Google]',
  },
  {
    id: 'smart-uncorrectable',
    looksAt: looksAtTotal('reportedUncorrectable'),
    measure: total('reportedUncorrectable'),
    lowers: [
      [1, 10],
      [10, 15],
      [100, 20],
    ],
    says: (count) => `${countOf(count, 'error')} that it could not correct`,
    source: '[Backblaze]',
  },
  {
    id: 'smart-uncorrectable-grows',
    looksAt: looksAtGrown('reportedUncorrectable'),
    measure: grown('reportedUncorrectable'),
    lowers: [
      [1, 5],
      [10, 15],
    ],
    advises: [[10, 'replace-soon']],
    evidence: 'medium',
    says: (count) => `${countOf(count, 'more error')} that it could not correct in 7 days`,
    source: '[Backblaze]; the steps are ours',
  },
  {
    id: 'smart-timeouts',
    looksAt: looksAtGrown('commandTimeouts'),
    measure: grown('commandTimeouts'),
    lowers: [
      [1, 2],
      [10, 8],
    ],
    says: (count) => `${countOf(count, 'command')} given up in 7 days`,
    source: '[Backblaze]; by growth: many disks of good health have some',
  },
  {
    id: 'smart-link',
    looksAt: looksAtGrown('linkErrors'),
    measure: grown('linkErrors'),
    lowers: [
      [1, 5],
      [10, 10],
      [100, 15],
    ],
    evidence: 'link',
    says: (count) => `${countOf(count, 'checksum error')} on its cable in 7 days`,
    source: 'the count never goes down: only what is new tells of the cable that is there now',
  },
  {
    id: 'smart-media',
    looksAt: looksAtTotal('mediaErrors'),
    measure: total('mediaErrors'),
    lowers: [
      [1, 10],
      [10, 20],
      [100, 30],
    ],
    advises: [[100, 'replace-soon']],
    says: (count) => `${countOf(count, 'error')} of its medium`,
    source: '[NVMe] media and data integrity errors; SAS: uncorrected errors',
  },
  {
    id: 'smart-media-grows',
    looksAt: looksAtGrown('mediaErrors'),
    measure: grown('mediaErrors'),
    lowers: [
      [1, 5],
      [10, 15],
    ],
    advises: [[10, 'replace-soon']],
    evidence: 'medium',
    says: (count) => `${countOf(count, 'more error')} of its medium in 7 days`,
    source: 'the steps are ours',
  },
  {
    id: 'smart-spare-blocks',
    looksAt: looksAtTotal('spareBlocksUsedPercent'),
    measure: total('spareBlocksUsedPercent'),
    lowers: [
      [20, 5],
      [50, 15],
      [80, 30],
    ],
    advises: [[80, 'replace-soon']],
    says: (percent) => `${percent} % of its own spare blocks are used`,
    source: '[NVMe] available spare',
  },
  {
    id: 'smart-wear',
    looksAt: looksAtTotal('wearPercent'),
    measure: total('wearPercent'),
    lowers: [
      [90, 5],
      [100, 15],
    ],
    advises: [[100, 'replace-soon']],
    says: (percent) => `${percent} % of the writes that its maker promises`,
    source: '[NVMe] percentage used; at 100 it may go on for long',
  },
  {
    id: 'smart-hot',
    looksAt: 'the disk is hotter than its maker allows',
    measure: flag(({ reading }) => reading.hot),
    lowers: [[1, 5]],
    says: () => 'is too hot',
    source: '[NVMe] critical warning bit 1',
  },
];
