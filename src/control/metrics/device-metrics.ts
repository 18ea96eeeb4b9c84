import type { DeviceStatus } from '../../device/messages.ts';
import type { MetricFamily } from './exposition.ts';
import { healthMetrics } from './health-metrics.ts';
import { latencySamples } from './latency-samples.ts';
import { byKind, counter, type DeviceMetric, gauge, stateSet } from './metric.ts';
import { remapMetrics } from './remap-metrics.ts';
import { scrubMetrics } from './scrub-metrics.ts';

/** What is told of a device that did not answer. */
export interface SilentDevice {
  readonly name: string;
}

const lifecycleStates = ['starting', 'serving', 'suspended', 'removing', 'removed', 'failed'];
const remapStates = [
  'ok',
  'spare-full',
  'spare-failed',
  'main-writes-failed',
  'main-failed',
  'metadata-failed',
  'without-spare',
];

const deviceMetrics: readonly DeviceMetric[] = [
  gauge('info', 'What the device is made of; always 1.', ({ uuid, version, engine, main, spare }) => [
    { labels: { uuid, version, engine, main: main.path, spare: spare?.path ?? '' }, value: 1 },
  ]),
  gauge('start_time_seconds', 'When the process of the device was started.', (s) => s.startedUnixSeconds),
  gauge('size_bytes', 'Size of the device.', (status) => status.sizeBytes),
  stateSet('lifecycle_state', 'Where the device is in its life.', lifecycleStates, ({ state }) => state),
  stateSet('state', 'The worst thing that lasts.', remapStates, ({ remap }) => remap.state),
  stateSet(
    'health_state',
    'What status sums up.',
    ['ok', 'degraded', 'failing'],
    ({ remap }) => remap.health,
  ),
  counter('requests_total', 'Requests of clients that succeeded.', ({ traffic }) => byKind(traffic.requests)),
  counter('request_bytes_total', 'Bytes of the requests that succeeded.', ({ traffic }) =>
    byKind(traffic.bytes),
  ),
  counter('request_errors_total', 'Requests that were answered with an error.', (s) => s.traffic.errors),
  counter(
    'partial_reads_total',
    'Failed reads whose good parts were delivered.',
    ({ traffic }) => traffic.partialReads,
  ),
  {
    name: 'request_duration_seconds',
    type: 'histogram',
    help: 'From the bytes of a request to its reply, failed ones too.',
    of: ({ traffic }) =>
      Object.entries(traffic.latency).flatMap(([kind, latency]) => latencySamples({ kind }, latency)),
  },
  gauge('requests_in_flight', 'Requests without an answer.', (status) => status.requestsInFlight),
  gauge('stuck_requests', 'Requests without an answer for 10 s or longer.', (s) => s.stuckRequests.count),
  gauge(
    'oldest_stuck_request_seconds',
    'Age of the oldest stuck request; 0 without one.',
    ({ stuckRequests }) => stuckRequests.oldest[0]?.ageSeconds ?? 0,
  ),
  gauge('connections', 'Clients that are connected.', (status) => status.connections),
  counter('connections_accepted_total', 'Clients that came.', ({ traffic }) => traffic.connectionsAccepted),
  counter(
    'connections_refused_total',
    'Clients that were refused because there were too many.',
    ({ traffic }) => traffic.connectionsRefused,
  ),
  counter(
    'protocol_errors_total',
    'Clients that were cut off because they broke the protocol or let a deadline pass.',
    ({ traffic }) => traffic.protocolErrors,
  ),
  gauge('attached', 'Whether the device is a block device of the kernel.', (s) =>
    Number(s.attachment !== null),
  ),
  gauge('granule_bytes', 'Bytes of a granule, the unit that moves.', ({ remap }) => remap.granuleBytes),
  gauge('remapped_granules', 'Granules that live on the spare.', ({ remap }) => remap.remappedGranules),
  gauge(
    'remapped_sectors',
    'Sectors of 512 bytes that live on the spare.',
    ({ remap }) => remap.remappedSectors,
  ),
  gauge('lost_sectors', 'Sectors of 512 bytes that cannot be read, by why.', ({ remap }) => [
    { labels: { kind: 'unreadable' }, value: remap.unreadableSectors },
    { labels: { kind: 'gone' }, value: remap.goneSectors },
  ]),
  gauge(
    'fresh_zero_sectors',
    'Sectors of 512 bytes that main cannot read and nobody wrote: they read as zeros.',
    ({ remap }) => remap.freshZeroSectors,
  ),
  gauge('spare_slots', 'Slots of the spare by use.', ({ remap, spare }) =>
    spare === null
      ? []
      : [
          { labels: { state: 'used' }, value: remap.slotsUsed },
          { labels: { state: 'free' }, value: remap.slotsFree },
          { labels: { state: 'retired' }, value: remap.slotsRetired },
        ],
  ),
  gauge(
    'spare_slots_reserved',
    'Free slots that only writes of clients may take.',
    ({ remap }) => remap.slotsReserved,
  ),
  gauge('spare_used_ratio', 'Share of the slots that is not free, 0 to 1.', ({ remap }) =>
    remap.slotsTotal === 0 ? [] : 1 - remap.slotsFree / remap.slotsTotal,
  ),
  stateSet(
    'spare_state',
    'What the spare is good for.',
    ['available', 'in-use', 'full', 'failed', 'none'],
    ({ remap }) => remap.spareState,
  ),
  gauge(
    'metadata_replicas',
    'Copies of the metadata that there should be.',
    ({ remap }) => remap.replicasTotal,
  ),
  gauge('metadata_replicas_valid', 'Copies of the metadata that are in sync.', (s) => s.remap.replicasValid),
  ...remapMetrics(),
  ...healthMetrics,
  ...scrubMetrics,
  counter('events_dropped_total', 'Events that could not be stored.', ({ eventLog }) => eventLog.dropped),
  counter(
    'events_suppressed_total',
    'Events that were not stored because there were too many of their kind.',
    ({ eventLog }) => eventLog.suppressed,
  ),
  gauge('event_log_trouble', 'Whether events cannot be stored for good.', (s) =>
    Number(s.eventLog.trouble !== ''),
  ),
  gauge('host_state_trouble', 'Whether the host cannot keep its copy of the table.', ({ hostState }) =>
    Number(hostState.trouble !== ''),
  ),
  counter(
    'control_restarts_total',
    'Times that the control plane had to be started again.',
    ({ controlRestarts }) => controlRestarts,
  ),
];

/** Every name that there can be, without its prefix; what dashboards and alerts are checked against. */
export const metricNames: readonly string[] = ['up', ...deviceMetrics.map(({ name }) => name)].map(prefixed);

/**
 * Everything about these devices, each sample with its device's name. `up` is 1 for those that answered.
 */
export function deviceFamilies(
  answers: readonly DeviceStatus[],
  silent: readonly SilentDevice[] = [],
): readonly MetricFamily[] {
  const up: MetricFamily = {
    name: prefixed('up'),
    type: 'gauge',
    help: 'Whether the device answers; 0 also where its process was killed.',
    samples: [
      ...answers.map(({ name }) => ({ labels: { device: name }, value: 1 })),
      ...silent.map(({ name }) => ({ labels: { device: name }, value: 0 })),
    ],
  };
  return [
    up,
    ...deviceMetrics.map(({ name, type, help, of }) => ({
      name: prefixed(name),
      type,
      help,
      samples: answers.flatMap((status) =>
        of(status).map((sample) => ({ ...sample, labels: { device: status.name, ...sample.labels } })),
      ),
    })),
  ];
}

function prefixed(name: string): string {
  return `dm_remap_${name}`;
}
