import { type LatencyBuckets, latencyQuantileSeconds, latencySince } from '../../block/latency-histogram.ts';
import type { DeviceStatus } from '../../device/messages.ts';

/** An answer of a device, and when it came: milliseconds of a clock that nobody sets. */
export interface Look {
  readonly atMs: number;
  readonly status: DeviceStatus;
}

export const trafficKinds = ['read', 'write', 'flush', 'trim', 'zero', 'other'] as const;
export type TrafficKind = (typeof trafficKinds)[number];

export interface KindFigures {
  readonly requestsPerSecond: number;
  /** 0 for kinds that carry none. */
  readonly bytesPerSecond: number;
  /** Undefined where none was answered, and for kinds whose times are not told apart. */
  readonly medianSeconds: number | undefined;
  readonly p99Seconds: number | undefined;
}

/** What happened between two looks at one process. */
export interface Figures {
  readonly seconds: number;
  readonly kinds: Readonly<Record<TrafficKind, KindFigures>>;
  /** Requests that were answered with an error. */
  readonly errors: number;
}

/** Undefined where the two are not of one process: its counts began anew. */
export function figuresBetween(before: Look | undefined, now: Look): Figures | undefined {
  if (before === undefined || now.atMs <= before.atMs) return undefined;
  if (before.status.pid !== now.status.pid) return undefined;
  if (before.status.startedUnixSeconds !== now.status.startedUnixSeconds) return undefined;
  const seconds = (now.atMs - before.atMs) / 1000;
  const earlier = before.status.traffic;
  const later = now.status.traffic;
  const kind = (
    requests: (traffic: DeviceStatus['traffic']) => number,
    bytes: (traffic: DeviceStatus['traffic']) => number,
    buckets: (traffic: DeviceStatus['traffic']) => LatencyBuckets,
  ): KindFigures => {
    const since = latencySince(buckets(earlier), buckets(later));
    return {
      requestsPerSecond: perSecond(requests(later) - requests(earlier), seconds),
      bytesPerSecond: perSecond(bytes(later) - bytes(earlier), seconds),
      medianSeconds: latencyQuantileSeconds(since, 0.5),
      p99Seconds: latencyQuantileSeconds(since, 0.99),
    };
  };
  const none = (): number => 0;
  const untimed = (): LatencyBuckets => [];
  return {
    seconds,
    kinds: {
      read: kind(
        ({ requests }) => requests.read,
        ({ bytes }) => bytes.read,
        ({ latency }) => latency.read.buckets,
      ),
      write: kind(
        ({ requests }) => requests.write,
        ({ bytes }) => bytes.write,
        ({ latency }) => latency.write.buckets,
      ),
      flush: kind(
        ({ requests }) => requests.flush,
        none,
        ({ latency }) => latency.flush.buckets,
      ),
      trim: kind(
        ({ requests }) => requests.trim,
        ({ bytes }) => bytes.trim,
        untimed,
      ),
      zero: kind(
        ({ requests }) => requests.writeZeroes,
        ({ bytes }) => bytes.writeZeroes,
        untimed,
      ),
      other: kind(({ requests }) => requests.cache + requests.blockStatus, none, untimed),
    },
    errors: Math.max(0, later.errors - earlier.errors),
  };
}

function perSecond(count: number, seconds: number): number {
  return Math.max(0, count) / seconds;
}
