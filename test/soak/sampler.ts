import { readdirSync, readFileSync } from 'node:fs';
import type { ControlClient } from '../../src/control/client.ts';
import { LatencyHistogram } from './latency-histogram.ts';
import type { SampleRecord } from './soak-records.ts';

export interface Latencies {
  readonly reads: LatencyHistogram;
  readonly writes: LatencyHistogram;
}

export function newLatencies(): Latencies {
  return { reads: new LatencyHistogram(), writes: new LatencyHistogram() };
}

/** What the device's process holds and says now, with the latencies since the last look, which begin anew. */
export async function takeSample(
  pid: number,
  control: ControlClient,
  latencies: Latencies,
  when: Pick<SampleRecord, 'seconds' | 'session' | 'sessionSeconds'>,
): Promise<SampleRecord> {
  const { remap, requestsInFlight } = await control.status();
  if (remap === null) throw new Error('a device without a table');
  const sample: SampleRecord = {
    kind: 'sample',
    ...when,
    residentBytes: residentBytes(pid),
    openFiles: readdirSync(`/proc/${pid}/fd`).length,
    threads: numberIn(pid, /^Threads:\s+(\d+)$/m),
    requestsInFlight,
    reads: latencies.reads.percentiles(),
    writes: latencies.writes.percentiles(),
    remappedGranules: remap.remappedGranules,
    slotsUsed: remap.slotsUsed,
    slotsFree: remap.slotsFree,
    slotsRetired: remap.slotsRetired,
    unreadableSectors: remap.unreadableSectors,
    goneSectors: remap.goneSectors,
  };
  latencies.reads.clear();
  latencies.writes.clear();
  return sample;
}

export function residentBytes(pid: number): number {
  return numberIn(pid, /^VmRSS:\s+(\d+) kB$/m) * 1024;
}

function numberIn(pid: number, line: RegExp): number {
  const match = line.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  if (match === null) throw new Error(`process ${pid} says nothing of ${line.source}`);
  return Number(match[1]);
}
