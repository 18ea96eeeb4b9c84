import type { DiskMap } from '../../../src/cli/top/disk-map.ts';
import { figuresBetween } from '../../../src/cli/top/figures.ts';
import type { DeviceView, TopView } from '../../../src/cli/top/screen.ts';
import type { DeviceStatus, TrafficStatus } from '../../../src/device/messages.ts';
import { exampleStatus } from '../../control/example-status.ts';

/** A device that has answered twice, two seconds apart: 100 reads of 4 KiB in 1 ms each, 10 writes, one failed request. */
export function exampleView(more: Partial<DeviceView> = {}, status: Partial<DeviceStatus> = {}): DeviceView {
  const before = { ...exampleStatus, ...status, traffic: trafficOf(1_000, 500, 3) };
  const now = { ...exampleStatus, ...status, traffic: trafficOf(1_100, 510, 4) };
  const figures = figuresBetween({ atMs: 1_000, status: before }, { atMs: 3_000, status: now });
  return { name: now.name, status: now, figures, map: undefined, silent: '', ...more };
}

export function trafficOf(reads: number, writes: number, errors: number): TrafficStatus {
  const none = { count: 0, sumSeconds: 0, longestSeconds: 0, medianSeconds: 0, p99Seconds: 0, buckets: [] };
  return {
    ...exampleStatus.traffic,
    requests: { read: reads, write: writes, flush: 0, trim: 0, writeZeroes: 0, cache: 0, blockStatus: 0 },
    bytes: { read: reads * 4096, write: writes * 512, trim: 0, writeZeroes: 0 },
    errors,
    latency: {
      read: { ...none, buckets: [{ uptoSeconds: 0.001, count: reads }] },
      write: { ...none, buckets: [{ uptoSeconds: 0.02, count: writes }] },
      flush: none,
      other: none,
    },
  };
}

export function viewOf(devices: readonly DeviceView[], more: Partial<TopView> = {}): TopView {
  return {
    devices,
    selected: 0,
    paused: false,
    intervalSeconds: 2,
    unixMs: Date.UTC(2026, 0, 31, 14, 5, 9),
    keys: true,
    ...more,
  };
}

export const exampleMap: DiskMap = {
  cellCount: 10,
  cellSectors: 2048,
  cells: new Map([
    [1, { moved: 3, unreadable: 0, freshZero: 0, gone: 0 }],
    [2, { moved: 3, unreadable: 1, freshZero: 0, gone: 0 }],
    [4, { moved: 1, unreadable: 1, freshZero: 1, gone: 1 }],
    [9, { moved: 0, unreadable: 0, freshZero: 7, gone: 0 }],
  ]),
};
