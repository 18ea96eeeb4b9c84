import type { DeviceFacts, DiskRole } from './health-facts.ts';
import { countOf, type Rule } from './health-rule.ts';

/** A rule about what dm-remap itself has seen, and the disk that it is about. */
export interface DeviceRule extends Rule<DeviceFacts> {
  readonly disk: DiskRole;
}

function counter({ counters }: DeviceFacts, name: string): number {
  return counters[name] ?? 0;
}

/** As "128 sectors a day". */
function aDay(sectors: number): string {
  const rate = sectors / 7;
  return rate >= 10 ? `${Math.round(rate)}` : rate.toFixed(1).replace(/\.0$/, '');
}

/** From a forecast of so many days on it is worth saying. */
const forecastDaysMax = 365;

export const deviceRules: readonly DeviceRule[] = [
  {
    id: 'state',
    disk: 'main',
    looksAt: 'the state of the device: 1 spare-full, 2 any other that is not ok',
    measure: ({ state }) => (state === 'ok' ? 0 : state === 'spare-full' ? 1 : 2),
    lowers: [],
    holds: [
      [1, 39],
      [2, 19],
    ],
    says: (_, { state }) => `the device is ${state}`,
    source: 'requests are refused then (R5, R16, M1)',
  },
  {
    id: 'gone',
    disk: 'spare',
    looksAt: 'sectors whose last acknowledged bytes are lost',
    measure: ({ goneSectors }) => goneSectors,
    lowers: [[1, 20]],
    holds: [[1, 39]],
    advises: [[1, 'restore-lost']],
    says: (sectors) => `${countOf(sectors, 'sector')} gone for good`,
    source: 'acknowledged data is lost (R4)',
  },
  {
    id: 'last-replica',
    disk: 'spare',
    looksAt: 'one replica of the metadata is left of several',
    measure: ({ replicasValid, replicasTotal }) => (replicasTotal > 1 && replicasValid < 2 ? 1 : 0),
    lowers: [],
    holds: [[1, 39]],
    advises: [[1, 'replace-now']],
    says: () => 'one replica of the metadata is left',
    source: 'the next bad block of the spare loses the table (M2)',
  },
  {
    id: 'replicas',
    disk: 'spare',
    looksAt: 'replicas of the metadata that are not in sync',
    measure: ({ replicasValid, replicasTotal }) => Math.max(0, replicasTotal - replicasValid),
    lowers: [[1, 10]],
    advises: [[1, 'replace-soon']],
    says: (missing) => `${countOf(missing, 'replica')} of the metadata not in sync`,
    source: 'a healthy spare takes all of them (M2)',
  },
  {
    id: 'growth',
    disk: 'main',
    looksAt: 'sectors of main that proved bad in the last 7 days',
    measure: ({ growth }) => growth.badSectorsLastWeek,
    lowers: [
      [1, 5],
      [64, 10],
      [512, 20],
      [4096, 30],
    ],
    holds: [[65_536, 19]],
    advises: [
      [512, 'replace-soon'],
      [4096, 'replace-now'],
    ],
    evidence: 'medium',
    says: (sectors, { growth }) =>
      `${aDay(sectors)} new bad sectors a day in the last 7 days, ${aDay(growth.badSectorsWeekBefore)} a day in the 7 before`,
    source: 'errors that grow foretell failure [Google]; the steps are ours: 8 sectors are one block',
  },
  {
    id: 'moved',
    disk: 'main',
    looksAt: 'sectors that are on the spare',
    measure: ({ remappedSectors }) => remappedSectors,
    lowers: [
      [1, 5],
      [512, 10],
      [8192, 15],
      [131_072, 20],
    ],
    says: (sectors) => `${countOf(sectors, 'sector')} moved to the spare`,
    source: 'each is one that the disk itself could not replace any more; the steps are ours',
  },
  {
    id: 'unreadable',
    disk: 'main',
    looksAt: 'sectors that main cannot read and only main has',
    measure: ({ unreadableSectors }) => unreadableSectors,
    lowers: [
      [1, 10],
      [64, 15],
      [1024, 20],
    ],
    advises: [
      [1, 'restore-lost'],
      [1024, 'replace-soon'],
    ],
    evidence: 'medium',
    says: (sectors) => `${countOf(sectors, 'sector')} unreadable`,
    source: 'as attribute 197 of SMART [Google, Backblaze]',
  },
  {
    id: 'fresh-zero',
    disk: 'main',
    looksAt: 'sectors that main cannot read and nobody has written',
    measure: ({ freshZeroSectors }) => freshZeroSectors,
    lowers: [
      [1, 3],
      [1024, 10],
    ],
    says: (sectors) => `${countOf(sectors, 'sector')} unreadable and never written`,
    source: 'bad sectors without a loss (R13)',
  },
  {
    id: 'spread',
    disk: 'main',
    looksAt: 'tenths of main with bad sectors',
    measure: ({ tenthsWithErrors }) => tenthsWithErrors,
    lowers: [
      [4, 5],
      [7, 10],
    ],
    advises: [[7, 'replace-soon']],
    says: (tenths) => `bad sectors in ${tenths} of 10 parts of main`,
    source: 'ours: a scratch is in one place, a head or a surface that goes is everywhere',
  },
  {
    id: 'failed-again',
    disk: 'main',
    looksAt: 'sectors that went home and failed again, in the last 30 days',
    measure: ({ growth }) => growth.failedAgain,
    lowers: [
      [1, 5],
      [64, 15],
    ],
    advises: [[64, 'replace-soon']],
    says: (sectors) => `${countOf(sectors, 'sector')} failed again after they had proved good`,
    source: 'ours: what a rewrite heals only for days is going',
  },
  {
    id: 'forecast',
    disk: 'main',
    looksAt: 'days until the spare is full when it goes on like the last week, taken from 365',
    measure: ({ spareFullInDays }) =>
      spareFullInDays === null ? 0 : Math.max(0, forecastDaysMax - spareFullInDays),
    lowers: [
      [335, 5],
      [358, 15],
      [363, 25],
    ],
    advises: [[335, 'larger-spare']],
    says: (_, { spareFullInDays }) => `the spare is full in ${countOf(spareFullInDays ?? 0, 'day')}`,
    source: 'the forecast of "spare list": 30, 7 and 2 days',
  },
  {
    id: 'filling',
    disk: 'spare',
    looksAt: 'percent of the spare that is used; 100 where only its reserve is free',
    measure: ({ spareUsedPercent, slotsFree, slotsReserved, slotsTotal }) =>
      slotsTotal > 0 && slotsFree <= slotsReserved ? 100 : spareUsedPercent,
    lowers: [
      [80, 5],
      [90, 15],
      [100, 25],
    ],
    advises: [[80, 'larger-spare']],
    says: (_, { spareUsedPercent }) => `the spare is ${spareUsedPercent} % full`,
    source: 'warnings at 80 and 90 %, as of AIX; the reserve is for clients alone (R31)',
  },
  {
    id: 'retired',
    disk: 'spare',
    looksAt: 'slots of the spare that proved bad',
    measure: ({ slotsRetired }) => slotsRetired,
    lowers: [
      [1, 3],
      [8, 10],
      [64, 20],
    ],
    advises: [
      [8, 'replace-soon'],
      [64, 'replace-now'],
    ],
    says: (slots) => `${countOf(slots, 'bad slot')} on the spare`,
    source: 'a spare has to be healthy (R5); the steps are ours',
  },
  {
    id: 'spare-errors',
    disk: 'spare',
    looksAt: 'requests that the spare failed since the device was opened',
    measure: (facts) => counter(facts, 'spareErrors'),
    lowers: [
      [1, 5],
      [64, 10],
    ],
    advises: [[64, 'replace-soon']],
    says: (errors) => `${countOf(errors, 'error')} of the spare`,
    source: 'a spare has to be healthy (R5); the steps are ours',
  },
  {
    id: 'read-back-wrong',
    disk: 'spare',
    looksAt: 'writes that were read back wrong since the device was opened',
    measure: (facts) => counter(facts, 'verifyMismatches'),
    lowers: [[1, 20]],
    advises: [[1, 'replace-soon']],
    says: (writes) => `${countOf(writes, 'write')} read back wrong`,
    source: 'a disk that lies without an error (R24, R25)',
  },
  {
    id: 'no-room',
    disk: 'main',
    looksAt: 'writes refused since the device was opened because what a disk lies on is full',
    measure: (facts) => counter(facts, 'writesWithoutRoom'),
    lowers: [[1, 10]],
    says: (writes) => `${countOf(writes, 'write')} refused because the file system or volume below is full`,
    source: 'not a fault of a disk, and fatal for its data (R15)',
  },
  {
    id: 'main-path',
    disk: 'main',
    looksAt: 'times in the last 7 days that main did not answer',
    measure: ({ growth }) => growth.mainPathLossesLastWeek,
    lowers: [
      [1, 3],
      [5, 10],
      [20, 20],
    ],
    evidence: 'link',
    says: (times) => `main did not answer ${countOf(times, 'time')} in the last 7 days`,
    source: 'cable, connector, power or controller (R14-R17)',
  },
  {
    id: 'spare-path',
    disk: 'spare',
    looksAt: 'times in the last 7 days that the spare did not answer',
    measure: ({ growth }) => growth.sparePathLossesLastWeek,
    lowers: [
      [1, 3],
      [5, 10],
      [20, 20],
    ],
    evidence: 'link',
    says: (times) => `the spare did not answer ${countOf(times, 'time')} in the last 7 days`,
    source: 'cable, connector, power or controller (R5)',
  },
  {
    id: 'slow',
    disk: 'main',
    looksAt: 'blocks that scrubs found slow in the last 30 days',
    measure: ({ growth }) => growth.slowBlocks,
    lowers: [
      [1, 2],
      [64, 8],
    ],
    says: (blocks) => `${countOf(blocks, 'slow block')} found by scrubs`,
    source: 'ours: a block that is read only after several tries is the next to go',
  },
  {
    id: 'stuck',
    disk: 'main',
    looksAt: 'times in the last 7 days that requests were stuck for 10 s',
    measure: ({ growth }) => growth.stuckLastWeek,
    lowers: [
      [1, 2],
      [20, 8],
    ],
    says: (times) => `requests were stuck ${countOf(times, 'time')} in the last 7 days`,
    source: 'a disk that tries for long is a disk in trouble (I22)',
  },
];
