import { readdirSync, readFileSync } from 'node:fs';

/** What the kernel has counted of one process since its start, all threads that it has now. */
export interface ProcessFigures {
  /** Times that a thread went to sleep by itself: as many wake-ups. */
  readonly wakeUps: number;
  /** Times that a thread was made to wait for a processor: work of others beside it. */
  readonly preemptions: number;
  readonly processorMs: number;
  readonly residentBytes: number;
  readonly threads: number;
}

/** Throws the system's error when there is no such process. */
export function processFigures(pid: number): ProcessFigures {
  let wakeUps = 0;
  let preemptions = 0;
  let processorNs = 0;
  let threads = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const read = (name: string): string => {
      try {
        return readFileSync(`/proc/${pid}/task/${thread}/${name}`, 'latin1');
      } catch {
        // It has ended since.
        return '';
      }
    };
    const status = read('status');
    if (status === '') continue;
    threads += 1;
    wakeUps += fieldOf(status, 'voluntary_ctxt_switches');
    preemptions += fieldOf(status, 'nonvoluntary_ctxt_switches');
    // Nanoseconds on a processor: Documentation/scheduler/sched-stats.rst. The ticks of `stat` are 10 ms.
    processorNs += Number(read('schedstat').split(' ', 1)[0]);
  }
  const residentBytes = fieldOf(readFileSync(`/proc/${pid}/status`, 'latin1'), 'VmRSS') * 1024;
  return { wakeUps, preemptions, processorMs: processorNs / 1e6, residentBytes, threads };
}

function fieldOf(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(status)?.[1] ?? 0);
}
