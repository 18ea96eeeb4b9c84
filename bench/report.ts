import type { Workload } from './fio.ts';
import { compareRows, type Row } from './measure.ts';
import type { Summary } from './statistics.ts';

/** What the figures were taken on; without it they mean nothing. */
export interface Surroundings {
  readonly fileSystem: string;
  readonly directory: string;
  readonly imageBytes: number;
  readonly cache: string;
  readonly transport: string;
  readonly processor: string;
  readonly cores: number;
  readonly kernel: string;
  /** By program. */
  readonly versions: Readonly<Record<string, string>>;
}

/** One workload, all servers; the first row is compared with the others. */
export interface Section {
  readonly workload: Workload;
  readonly rounds: number;
  readonly runtimeSeconds: number;
  readonly rows: readonly Row[];
}

export interface BenchReport {
  readonly surroundings: Surroundings;
  readonly sections: readonly Section[];
}

export function reportText(report: BenchReport): string {
  return [surroundingsText(report.surroundings), ...report.sections.map(sectionText)].join('\n\n');
}

function surroundingsText(surroundings: Surroundings): string {
  const { processor, cores, kernel, fileSystem, directory, cache, transport, versions } = surroundings;
  const mebibytes = surroundings.imageBytes / 1024 ** 2;
  const programs = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return [
    `machine  ${cores} cores, ${processor}, Linux ${kernel}`,
    `file     ${mebibytes} MiB in the page cache, ${fileSystem} (${directory}), cache mode ${cache}`,
    `path     ${transport}`,
    `programs ${programs.join(', ')}`,
  ].join('\n');
}

const columns = ['', 'median', 'min', 'max', 'p50 us', 'p99 us', 'server us/op', 'client core'];

function sectionText({ workload, rounds, runtimeSeconds, rows }: Section): string {
  const { pattern, blockBytes, queueDepth } = workload;
  const what = `${blockBytes / 1024}k ${pattern}, queue depth ${queueDepth}, ${rounds} rounds of ${runtimeSeconds} s, thousand operations a second`;
  const cells = [columns, ...rows.map(cellsOf)];
  const widths = columns.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  const lines = cells.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
      .join('  '),
  );
  const [first, ...others] = rows;
  const ratios = others.map((other) => `  : ${other.server} = ${ratioText(compareRows(first!, other))}`);
  return [what, ...lines, `ratio of ${first?.server}`, ...ratios].join('\n');
}

function cellsOf(row: Row): string[] {
  const { median, least, most } = row.operationsPerSecond;
  return [
    row.server,
    ...[median, least, most].map((value) => (value / 1000).toFixed(1)),
    row.medianLatencyUs.median.toFixed(0),
    row.latency99Us.median.toFixed(0),
    row.serverUsPerOperation.median.toFixed(2),
    `${(row.clientCoreShare.median * 100).toFixed(0)} %`,
  ];
}

function ratioText({ median, least, most }: Summary): string {
  return `${median.toFixed(2)} (rounds ${least.toFixed(2)} to ${most.toFixed(2)})`;
}
