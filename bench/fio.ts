import { runCommand } from './command.ts';
import { BenchRefusal, findTool } from './tools.ts';

export type Pattern = 'randread' | 'randwrite';

/** One kind of work that fio does to an export. */
export interface Workload {
  readonly pattern: Pattern;
  readonly blockBytes: number;
  readonly queueDepth: number;
}

export interface FioRun {
  readonly uri: string;
  readonly workload: Workload;
  /** Bytes from the start of the export. */
  readonly sizeBytes: number;
  readonly runtimeSeconds: number;
  /** The same seed asks for the same blocks in the same order. */
  readonly seed: number;
  /** Ends the run. */
  readonly signal?: AbortSignal;
}

export interface FioFigures {
  readonly operationsPerSecond: number;
  readonly operations: number;
  /** From submission to completion. */
  readonly medianLatencyUs: number;
  readonly latency99Us: number;
  /** Of one core, by fio itself: near 1 the client is the bottleneck, not the server. */
  readonly clientCoreShare: number;
}

/** How long fio may take beyond its run: to connect, and to lay out nothing. */
const fioGraceSeconds = 30;

/** Runs fio's nbd engine against an export. Rejects when one operation failed, or fio did. */
export async function runFio(run: FioRun): Promise<FioFigures> {
  const output = await runCommand(findTool('fio') ?? 'fio', fioArguments(run), {
    timeoutMs: (run.runtimeSeconds + fioGraceSeconds) * 1000,
    ...(run.signal === undefined ? {} : { signal: run.signal }),
  });
  return parseFio(output, run.workload.pattern);
}

export function fioArguments(run: FioRun): string[] {
  const { pattern, blockBytes, queueDepth } = run.workload;
  return [
    '--name=bench',
    '--ioengine=nbd',
    `--uri=${run.uri}`,
    `--rw=${pattern}`,
    `--bs=${blockBytes}`,
    `--iodepth=${queueDepth}`,
    `--size=${run.sizeBytes}`,
    '--time_based',
    `--runtime=${run.runtimeSeconds}`,
    // Random numbers instead of a map of what was visited: costs the client less.
    '--norandommap',
    `--randseed=${run.seed}`,
    '--output-format=json',
  ];
}

interface FioDirection {
  readonly iops: number;
  readonly total_ios: number;
  readonly clat_ns: { readonly percentile?: Readonly<Record<string, number>> };
}

interface FioReport {
  readonly jobs: readonly {
    readonly error: number;
    readonly usr_cpu: number;
    readonly sys_cpu: number;
    readonly read: FioDirection;
    readonly write: FioDirection;
  }[];
}

/** Reads the JSON that fio prints, which may come behind lines of notes. */
export function parseFio(output: string, pattern: Pattern): FioFigures {
  const start = output.indexOf('{');
  if (start < 0) throw new BenchRefusal(`fio printed no result: ${output.trim().slice(0, 200)}`);
  const report: FioReport = JSON.parse(output.slice(start));
  const [job] = report.jobs;
  if (job === undefined || job.error !== 0) {
    throw new BenchRefusal(`fio failed with error ${job?.error ?? 'unknown'}`);
  }
  const direction = pattern === 'randread' ? job.read : job.write;
  if (direction.total_ios === 0) throw new BenchRefusal('fio did no operation');
  const percentile = direction.clat_ns.percentile ?? {};
  return {
    operationsPerSecond: direction.iops,
    operations: direction.total_ios,
    medianLatencyUs: (percentile['50.000000'] ?? 0) / 1000,
    latency99Us: (percentile['99.000000'] ?? 0) / 1000,
    clientCoreShare: (job.usr_cpu + job.sys_cpu) / 100,
  };
}
