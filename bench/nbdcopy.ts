import { performance } from 'node:perf_hooks';
import { runCommand } from './command.ts';
import type { ClientFigures } from './fio.ts';
import { BenchRefusal, findTool } from './tools.ts';
import type { Workload } from './workload.ts';

export interface CopyRun {
  readonly uri: string;
  readonly workload: Workload;
  /** What is copied to the export when the workload writes; of the size that is copied from it when it reads. */
  readonly imagePath: string;
  readonly sizeBytes: number;
  readonly signal?: AbortSignal;
}

/** nbdcopy moves a GiB in a second or so; a server that hangs must not hang the benchmark. */
const copyDeadlineMs = 120_000;

/** Copies a whole export once, to nowhere or from the image. An operation is a request of the workload's size. */
export async function runCopy(run: CopyRun): Promise<ClientFigures> {
  const began = performance.now();
  // The shell's `times` says what its children used of the processor; nbdcopy itself says nothing.
  const words = ['-c', '"$0" "$@" && times', findTool('nbdcopy') ?? 'nbdcopy', ...copyArguments(run)];
  const output = await runCommand('/bin/sh', words, {
    timeoutMs: copyDeadlineMs,
    ...(run.signal === undefined ? {} : { signal: run.signal }),
  });
  const seconds = (performance.now() - began) / 1000;
  const operations = run.sizeBytes / run.workload.blockBytes;
  return {
    operationsPerSecond: operations / seconds,
    operations,
    medianLatencyUs: 0,
    latency99Us: 0,
    clientCoreShare: childProcessorSeconds(output) / seconds / run.workload.connections,
  };
}

/** What `times` printed: the shell's own user and system time in the first line, its children's in the second (POSIX). */
export function childProcessorSeconds(output: string): number {
  const children = output.trim().split('\n').at(-1) ?? '';
  const times = [...children.matchAll(/(\d+)m([\d.]+)s/g)];
  if (times.length !== 2) throw new BenchRefusal(`the shell's times are not understood: ${output.trim()}`);
  return times.reduce((sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds), 0);
}

export function copyArguments({ uri, workload, imagePath }: CopyRun): string[] {
  const { pattern, blockBytes, queueDepth, connections } = workload;
  return [
    // Or else holes and zeroes are looked for and skipped, and servers compared in what they say of holes.
    '--no-extents',
    '--sparse=0',
    `--connections=${connections}`,
    `--threads=${connections}`,
    `--requests=${queueDepth}`,
    `--request-size=${blockBytes}`,
    ...(pattern === 'write' ? [imagePath, uri] : [uri, 'null:']),
  ];
}
