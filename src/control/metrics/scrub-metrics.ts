import type { DeviceStatus, ScrubCounts } from '../../device/messages.ts';
import type { Sample } from './exposition.ts';
import { counter, type DeviceMetric, gauge, stateSet } from './metric.ts';

/** What all scrubs since the device was opened have read and found. */
export const scrubCounters: readonly (readonly [key: keyof ScrubCounts, name: string, help: string])[] = [
  ['mainBytes', 'scrub_main_bytes_total', 'Bytes of main that scrubs have read.'],
  ['spareBytes', 'scrub_spare_bytes_total', 'Bytes of the spare that scrubs have read.'],
  ['foundGranules', 'scrub_found_granules_total', 'Granules that scrubs found bad.'],
  ['savedGranules', 'scrub_saved_granules_total', 'Of those, read when asked again.'],
  ['movedGranules', 'scrub_moved_granules_total', 'Of those, moved to the spare.'],
  ['lostSectors', 'scrub_lost_sectors_total', 'Sectors that scrubs found lost.'],
  ['undecidedSectors', 'scrub_undecided_sectors_total', 'Sectors that scrubs could not decide about.'],
  ['slowGranules', 'scrub_slow_granules_total', 'Granules that took long to read.'],
  ['slowMovedGranules', 'scrub_slow_moved_granules_total', 'Of those, moved to the spare.'],
  ['badReplicas', 'scrub_bad_replicas_total', 'Replicas of the metadata that scrubs found bad.'],
  ['repairedReplicas', 'scrub_repaired_replicas_total', 'Of those, repaired.'],
];

/** Nothing for a device without its spare, which nobody scrubs. */
export const scrubMetrics: readonly DeviceMetric[] = [
  withScrub(
    stateSet('scrub_state', 'Whether a scrub is under way.', ['idle', 'running', 'paused'], ({ scrub }) =>
      scrub === null ? 'idle' : scrub.state,
    ),
  ),
  gauge('scrub_position_bytes', 'How far the scrub has read; 0 without one.', ({ scrub }) =>
    scrub === null ? [] : scrub.positionBytes,
  ),
  gauge('scrub_size_bytes', 'How much a scrub has to read.', ({ scrub }) =>
    scrub === null ? [] : scrub.sizeBytes,
  ),
  gauge('scrub_trouble', 'Whether a scrub cannot go on, or not keep its place.', ({ scrub }) =>
    scrub === null ? [] : Number(scrub.trouble !== ''),
  ),
  gauge('scrub_finished_timestamp_seconds', 'When the last whole scrub ended.', lastFinished),
  ...scrubCounters.map(([key, name, help]) =>
    counter(name, help, ({ scrub }) => (scrub === null ? [] : scrub.totals[key])),
  ),
];

function lastFinished({ scrub }: DeviceStatus): number | readonly Sample[] {
  const last = scrub?.ended.find(({ end }) => end === 'finished');
  return last === undefined ? [] : last.endedUnixSeconds;
}

function withScrub(metric: DeviceMetric): DeviceMetric {
  return { ...metric, of: (status) => (status.scrub === null ? [] : metric.of(status)) };
}
