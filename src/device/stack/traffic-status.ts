import {
  type LatencyHistogram,
  latencyCount,
  latencyQuantileSeconds,
} from '../../block/latency-histogram.ts';
import { NbdCounter } from '../../nbd/counters.ts';
import type { NbdServer } from '../../nbd/server.ts';
import type { LatencyStatus, TrafficStatus } from '../messages.ts';

/** What the server of a device has counted. */
export function trafficStatus({ counters, latencies }: NbdServer): TrafficStatus {
  const count = (index: number): number => counters[index] ?? 0;
  const { read, write, flush, other } = latencies.byKind;
  return {
    requests: {
      read: count(NbdCounter.reads),
      write: count(NbdCounter.writes),
      flush: count(NbdCounter.flushes),
      trim: count(NbdCounter.trims),
      writeZeroes: count(NbdCounter.zeroes),
      cache: count(NbdCounter.caches),
      blockStatus: count(NbdCounter.blockStatuses),
    },
    bytes: {
      read: count(NbdCounter.bytesRead),
      write: count(NbdCounter.bytesWritten),
      trim: count(NbdCounter.bytesTrimmed),
      writeZeroes: count(NbdCounter.bytesZeroed),
    },
    errors: count(NbdCounter.errors),
    partialReads: count(NbdCounter.partialReads),
    connectionsAccepted: count(NbdCounter.connections),
    connectionsRefused: count(NbdCounter.connectionsRefused),
    protocolErrors: count(NbdCounter.protocolErrors),
    latency: {
      read: latencyStatus(read),
      write: latencyStatus(write),
      flush: latencyStatus(flush),
      other: latencyStatus(other),
    },
  };
}

function latencyStatus(histogram: LatencyHistogram): LatencyStatus {
  const buckets = histogram.buckets();
  return {
    count: latencyCount(buckets),
    sumSeconds: histogram.sumSeconds,
    longestSeconds: histogram.longestSeconds,
    medianSeconds: latencyQuantileSeconds(buckets, 0.5) ?? 0,
    p99Seconds: latencyQuantileSeconds(buckets, 0.99) ?? 0,
    buckets,
  };
}
