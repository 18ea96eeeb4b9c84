import { runCommand } from './command.ts';
import { BenchRefusal, findTool } from './tools.ts';
import { mixedReadPercent, type Workload } from './workload.ts';

/** Where the bytes are: an NBD export, or the file itself by fio's io_uring engine, which is the limit of all servers of it. */
export type FioTarget =
  | { readonly kind: 'nbd'; readonly uri: string }
  | { readonly kind: 'file'; readonly path: string; readonly direct: boolean };

export interface FioRun {
  readonly target: FioTarget;
  readonly workload: Workload;
  /** Bytes from the start of the export. */
  readonly sizeBytes: number;
  readonly runtimeSeconds: number;
  /** The same seed asks for the same blocks in the same order. */
  readonly seed: number;
  /** Ends the run. */
  readonly signal?: AbortSignal;
}

export interface ClientFigures {
  readonly operationsPerSecond: number;
  readonly operations: number;
  /** From submission to completion; of reads, where there are any. 0 where the client does not say. */
  readonly medianLatencyUs: number;
  readonly latency99Us: number;
  /** Of one core for each connection, by the client itself: near 1 the client is the bottleneck, not the server. */
  readonly clientCoreShare: number;
}

/** How long fio may take beyond its run: to connect, and to lay out nothing. */
const fioGraceSeconds = 30;

/** Runs fio against an export or a file. Rejects when one operation failed, or fio did. */
export async function runFio(run: FioRun): Promise<ClientFigures> {
  const output = await runCommand(findTool('fio') ?? 'fio', fioArguments(run), {
    timeoutMs: (run.runtimeSeconds + fioGraceSeconds) * 1000,
    ...(run.signal === undefined ? {} : { signal: run.signal }),
  });
  return parseFio(output);
}

export function fioArguments(run: FioRun): string[] {
  const { pattern, blockBytes, queueDepth, connections, flushEach } = run.workload;
  return [
    '--name=bench',
    ...targetWords(run.target),
    `--rw=${pattern}`,
    ...(pattern === 'randrw' ? [`--rwmixread=${mixedReadPercent}`] : []),
    `--bs=${blockBytes}`,
    `--iodepth=${queueDepth}`,
    // Each job of fio is a process, and a connection.
    `--numjobs=${connections}`,
    '--group_reporting',
    ...(flushEach ? ['--fsync=1'] : []),
    `--size=${run.sizeBytes}`,
    '--time_based',
    `--runtime=${run.runtimeSeconds}`,
    // Random numbers instead of a map of what was visited: costs the client less.
    '--norandommap',
    `--randseed=${run.seed}`,
    '--output-format=json',
  ];
}

function targetWords(target: FioTarget): string[] {
  if (target.kind === 'nbd') return ['--ioengine=nbd', `--uri=${target.uri}`];
  const direct = target.direct ? 1 : 0;
  // fio drops the file from the page cache before it begins, unless it is told not to.
  return ['--ioengine=io_uring', `--filename=${target.path}`, `--direct=${direct}`, '--invalidate=0'];
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
export function parseFio(output: string): ClientFigures {
  const start = output.indexOf('{');
  if (start < 0) throw new BenchRefusal(`fio printed no result: ${output.trim().slice(0, 200)}`);
  const report: FioReport = JSON.parse(output.slice(start));
  const [job] = report.jobs;
  if (job === undefined || job.error !== 0) {
    throw new BenchRefusal(`fio failed with error ${job?.error ?? 'unknown'}`);
  }
  const { read, write } = job;
  const operations = read.total_ios + write.total_ios;
  if (operations === 0) throw new BenchRefusal('fio did no operation');
  const percentile = (read.total_ios > 0 ? read : write).clat_ns.percentile ?? {};
  return {
    operationsPerSecond: read.iops + write.iops,
    operations,
    medianLatencyUs: (percentile['50.000000'] ?? 0) / 1000,
    latency99Us: (percentile['99.000000'] ?? 0) / 1000,
    clientCoreShare: (job.usr_cpu + job.sys_cpu) / 100,
  };
}
