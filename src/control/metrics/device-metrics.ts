import type { DeviceStatus } from '../../device/messages.ts';
import type { Labels, MetricFamily, Sample } from './exposition.ts';
import { latencySamples } from './latency-samples.ts';

/** What is told of a device that did not answer. */
export interface SilentDevice {
  readonly name: string;
}

/** One name, and what a device says to it. */
interface DeviceMetric {
  readonly name: string;
  readonly type: MetricFamily['type'];
  readonly help: string;
  readonly of: (status: DeviceStatus) => readonly Sample[];
}

/**
 * The counters of the remap target by their names in `status`. Each has a metric of its own: what an operator can write an alert
 * for should be found by its name.
 */
export const remapCounterMetrics: Readonly<
  Record<string, { readonly name: string; readonly labels?: Labels; readonly help: string }>
> = {
  mainReadErrors: {
    name: 'main_errors_total',
    labels: { direction: 'read' },
    help: 'Requests that the main disk failed.',
  },
  mainWriteErrors: {
    name: 'main_errors_total',
    labels: { direction: 'write' },
    help: 'Requests that the main disk failed.',
  },
  spareErrors: { name: 'spare_errors_total', help: 'Requests that the spare failed.' },
  remaps: { name: 'remaps_total', help: 'Granules that were moved to the spare, again too.' },
  rewritesInPlace: {
    name: 'rewrites_in_place_total',
    help: 'Writes that main failed, and took when asked again in place.',
  },
  readsSaved: { name: 'reads_saved_total', help: 'Reads that main failed, and gave when asked again.' },
  lostReads: { name: 'lost_reads_total', help: 'Reads that met sectors whose bytes are lost.' },
  freshZeros: {
    name: 'fresh_zero_sectors_read_total',
    help: 'Sectors that main cannot read and nobody wrote that were answered as zeros.',
  },
  failedWrites: { name: 'failed_writes_total', help: 'Writes that were answered with an error of a disk.' },
  writesWithoutRoom: {
    name: 'writes_without_room_total',
    help: 'Writes that a disk refused because the file system or thin volume under it is full.',
  },
  verifyMismatches: {
    name: 'verify_mismatches_total',
    help: 'Granules that read back other bytes than were written.',
  },
  lazyCommitsFailed: {
    name: 'lazy_commits_failed_total',
    help: 'Marks of unreadable sectors that could not be stored; they are made again at the next read.',
  },
  takenHome: { name: 'taken_home_granules_total', help: 'Granules that went back to main.' },
  salvageDropped: {
    name: 'salvage_dropped_granules_total',
    help: 'Granules that the salvager gave up; the next read asks main anew.',
  },
  salvagedGranules: {
    name: 'salvaged_granules_total',
    help: 'Granules that were moved because main gave them only when asked again.',
  },
  zeroedReads: {
    name: 'zeroed_reads_total',
    help: 'Reads in whose replies zeros stand for lost sectors (policy on-lost zero).',
  },
};

const gauge = (
  name: string,
  help: string,
  of: (status: DeviceStatus) => number | readonly Sample[],
): DeviceMetric => ({ name, type: 'gauge', help, of: (status) => asSamples(of(status)) });

const counter = (
  name: string,
  help: string,
  of: (status: DeviceStatus) => number | readonly Sample[],
): DeviceMetric => ({ name, type: 'counter', help, of: (status) => asSamples(of(status)) });

/** One of several words: 1 for the one that holds, 0 for the others, so that an alert can name any of them. */
const stateSet = (
  name: string,
  help: string,
  words: readonly string[],
  of: (status: DeviceStatus) => string,
): DeviceMetric =>
  gauge(name, help, (status) => {
    const holds = of(status);
    const all = words.includes(holds) ? words : [...words, holds];
    return all.map((state) => ({ labels: { state }, value: Number(state === holds) }));
  });

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
  ...remapCounters(),
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

function asSamples(value: number | readonly Sample[]): readonly Sample[] {
  return typeof value === 'number' ? [{ labels: {}, value }] : value;
}

/** `writeZeroes` is `write_zeroes`: label values are words like names. */
function byKind(counts: Readonly<Record<string, number>>): readonly Sample[] {
  return Object.entries(counts).map(([kind, value]) => ({
    labels: { kind: kind.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`) },
    value,
  }));
}

/** Counters of one name that differ by a label are one family. */
function remapCounters(): readonly DeviceMetric[] {
  const names = [...new Set(Object.values(remapCounterMetrics).map(({ name }) => name))];
  return names.map((name) => {
    const parts = Object.entries(remapCounterMetrics).filter(([, metric]) => metric.name === name);
    return counter(name, parts[0]![1].help, ({ remap }) =>
      parts.flatMap(([key, { labels }]) => {
        const value = remap.counters[key];
        // A device without its spare has no such counters, which is not the same as none.
        return value === undefined ? [] : [{ labels: labels ?? {}, value }];
      }),
    );
  });
}
