import type { BarResult } from './bars.ts';
import { compareRows, type Row } from './measure.ts';
import type { Summary } from './statistics.ts';
import type { Workload } from './workload.ts';

/** What the figures were taken on; without it they mean nothing. */
export interface Surroundings {
  readonly fileSystem: string;
  readonly directory: string;
  readonly imageBytes: number;
  readonly transport: string;
  readonly processor: string;
  readonly cores: number;
  /** Of one minute, before the first measurement. */
  readonly load: number;
  readonly kernel: string;
  /** By program. */
  readonly versions: Readonly<Record<string, string>>;
  /** Who could not take part, and why. */
  readonly absent: readonly string[];
}

/** One workload, all contestants; the first row is compared with the others. */
export interface Section {
  /** Unique. */
  readonly name: string;
  readonly workload: Workload;
  readonly direct: boolean;
  readonly rounds: number;
  readonly runtimeSeconds: number;
  readonly rows: readonly Row[];
}

export interface BenchReport {
  readonly surroundings: Surroundings;
  readonly sections: readonly Section[];
  readonly bars: readonly BarResult[];
}

export function reportText(report: BenchReport): string {
  const bars = report.bars.length === 0 ? [] : [barsText(report.bars)];
  return [surroundingsText(report.surroundings), ...report.sections.map(sectionText), ...bars].join('\n\n');
}

function surroundingsText(surroundings: Surroundings): string {
  const { processor, cores, load, kernel, fileSystem, directory, transport, versions, absent } = surroundings;
  const mebibytes = surroundings.imageBytes / 1024 ** 2;
  const programs = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return [
    `machine  ${cores} cores, ${processor}, Linux ${kernel}, load ${load.toFixed(1)} before`,
    `file     ${mebibytes} MiB, ${fileSystem} (${directory}); in the page cache and writeback, unless a row says O_DIRECT`,
    `path     ${transport}`,
    `programs ${programs.join(', ')}`,
    ...absent.map((line) => `absent   ${line}`),
  ].join('\n');
}

const columns = [
  '',
  'k/s',
  'min',
  'max',
  'x rate',
  'rounds',
  'p50 us',
  'p99 us',
  'server us/op',
  'x cpu',
  'client core',
];

function sectionText({ name, workload, rounds, runtimeSeconds, rows }: Section): string {
  const each = workload.client === 'fio' ? `${rounds} rounds of ${runtimeSeconds} s` : `${rounds} copies`;
  const cells = [columns, ...rows.map((row) => cellsOf(row, rows[0]!))];
  const widths = columns.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  const lines = cells.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
      .join('  '),
  );
  return [
    `${name}: ${each}, medians, thousand requests a second; x: the first row's to this one's`,
    ...lines,
    ...(rows.some((row) => row.clientBound)
      ? ['* client-bound: the client had no more of its core to give']
      : []),
  ].join('\n');
}

function cellsOf(row: Row, first: Row): string[] {
  const { median, least, most } = row.operationsPerSecond;
  const own = row === first;
  const rate = compareRows(first, row, 'rate');
  const hasServer = row.serverUsPerOperation.median > 0 && first.serverUsPerOperation.median > 0;
  return [
    row.contestant,
    ...[median, least, most].map((value) => (value / 1000).toFixed(1)),
    own ? '' : rate.median.toFixed(2),
    own ? '' : `${rate.least.toFixed(2)}-${rate.most.toFixed(2)}`,
    latencyText(row.medianLatencyUs),
    latencyText(row.latency99Us),
    hasServer ? row.serverUsPerOperation.median.toFixed(2) : '-',
    own || !hasServer ? '' : compareRows(first, row, 'processor time').median.toFixed(2),
    `${(row.clientCoreShare.median * 100).toFixed(0)} %${row.clientBound ? '*' : ' '}`,
  ];
}

function latencyText({ median }: Summary): string {
  return median === 0 ? '-' : median.toFixed(0);
}

function barsText(results: readonly BarResult[]): string {
  const lines = results.map(({ bar, other, ratio, met, clientBound }) => {
    const limit = bar.least === undefined ? `at most ${bar.most}` : `at least ${bar.least}`;
    const what = `${bar.workload}, ${bar.figure}: ${bar.one} to ${other}`;
    return `${met ? 'met   ' : 'MISSED'} ${ratio.toFixed(2)}, ${limit}: ${what}${clientBound ? ' (client-bound)' : ''}`;
  });
  return ['bars', ...lines].join('\n');
}
