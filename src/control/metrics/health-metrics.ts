import type { DiskHealth } from '../../health/health-status.ts';
import type { Labels, Sample } from './exposition.ts';
import { type DeviceMetric, gauge, wordOf } from './metric.ts';

const secondsADay = 86_400;

/** What the control plane makes of device and disks; nothing where nobody wants to know (policy `health off`). */
export const healthMetrics: readonly DeviceMetric[] = [
  gauge('health_score', 'How healthy device and disks are, 100 is healthy, 0 the worst.', ({ health }) =>
    health === null ? [] : health.score,
  ),
  gauge('health_trouble', 'Whether something is not known about the health of the disks.', ({ health }) =>
    health === null ? [] : Number(health.trouble !== ''),
  ),
  gauge(
    'spare_full_in_seconds',
    'When the spare is full if it goes on like lately; missing without growth.',
    ({ health }) =>
      health?.spareFullInDays === undefined || health.spareFullInDays === null
        ? []
        : health.spareFullInDays * secondsADay,
  ),
  gauge('smart_value', 'Counts of SMART that tell of trouble, as last read.', ({ health }) =>
    (health?.disks ?? []).flatMap((disk) =>
      Object.entries(disk.counters).map(([counter, value]) => ({
        labels: { ...diskLabels(disk), counter: wordOf(counter) },
        value,
      })),
    ),
  ),
  gauge('smart_failing', 'Whether the disk says of itself that it is failing.', ({ health }) =>
    readDisks(health?.disks).map((disk) => ({ labels: diskLabels(disk), value: Number(disk.failing) })),
  ),
  gauge('smart_read_timestamp_seconds', 'When SMART was last read.', ({ health }) =>
    readDisks(health?.disks).map(
      (disk): Sample => ({ labels: diskLabels(disk), value: disk.readUnixSeconds }),
    ),
  ),
];

function readDisks(disks: readonly DiskHealth[] = []): readonly DiskHealth[] {
  return disks.filter(({ readUnixSeconds }) => readUnixSeconds > 0);
}

function diskLabels({ disk, device }: DiskHealth): Labels {
  return { disk, path: device };
}
