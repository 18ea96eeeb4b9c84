import type { DeviceStatus } from '../../device/messages.ts';
import { type Figures, type KindFigures, trafficKinds } from './figures.ts';
import type { DeviceView } from './screen.ts';
import { screenText } from './span.ts';

/** One that has answered at least once. */
export type SeenDevice = DeviceView & { readonly status: NonNullable<DeviceView['status']> };

interface Column {
  readonly head: string;
  readonly width: number;
  readonly text: (view: SeenDevice) => string;
}

const perSecond = (head: string, of: (figures: Figures) => number): Column => ({
  head,
  width: 9,
  text: ({ figures }) => (figures === undefined ? '-' : figure(of(figures))),
});

const milliseconds = (head: string, of: (kinds: Figures['kinds']) => number | undefined): Column => ({
  head,
  width: 9,
  text: ({ figures }) => {
    const seconds = figures === undefined ? undefined : of(figures.kinds);
    return seconds === undefined ? '-' : (seconds * 1000).toFixed(3);
  },
});

/** Whole numbers and words without spaces, so that `awk` finds them by their place; `-` where there is nothing to tell. */
const columns: readonly Column[] = [
  { head: 'DEVICE', width: 12, text: ({ name }) => screenText(name).replaceAll(' ', '_') },
  { head: 'STATE', width: 9, text: ({ status }) => status.state },
  { head: 'DISKS', width: 12, text: ({ status }) => status.remap.state },
  { head: 'HEALTH', width: 8, text: ({ status }) => status.remap.health },
  perSecond('READ/s', ({ kinds }) => kinds.read.requestsPerSecond),
  perSecond('WRITE/s', ({ kinds }) => kinds.write.requestsPerSecond),
  perSecond('FLUSH/s', ({ kinds }) => kinds.flush.requestsPerSecond),
  perSecond('READ-B/s', ({ kinds }) => kinds.read.bytesPerSecond),
  perSecond('WRITE-B/s', ({ kinds }) => kinds.write.bytesPerSecond),
  milliseconds('READ99-ms', ({ read }) => read.p99Seconds),
  milliseconds('WRIT99-ms', ({ write }) => write.p99Seconds),
  { head: 'ERRORS', width: 6, text: ({ figures }) => (figures === undefined ? '-' : String(figures.errors)) },
  { head: 'FLYING', width: 6, text: ({ status }) => String(status.requestsInFlight) },
  { head: 'SPARE%', width: 6, text: ({ status }) => String(status.remap.spareUsedPercent) },
  { head: 'MOVED', width: 7, text: ({ status }) => String(status.remap.remappedSectors) },
  { head: 'UNREADABLE', width: 10, text: ({ status }) => String(status.remap.unreadableSectors) },
  { head: 'GONE', width: 6, text: ({ status }) => String(status.remap.goneSectors) },
  { head: 'SCORE', width: 5, text: ({ status }) => String(status.health?.score ?? '-') },
  { head: 'SCRUB%', width: 6, text: ({ status }) => scrubPercent(status.scrub) },
];

/** Of the scrub that is under way. */
function scrubPercent(scrub: DeviceStatus['scrub']): string {
  if (scrub === null || scrub.state === 'idle') return '-';
  return String(Math.floor((100 * scrub.positionBytes) / Math.max(1, scrub.sizeBytes)));
}

const timeWidth = 20;

/** Stands above the lines, once. */
export function plainHead(): string {
  return [
    `${'TIME'.padEnd(timeWidth)}`,
    ...columns.map(({ head, width }) => aligned(head, width, head)),
  ].join(' ');
}

/** One line for a device that answered, as `vmstat` and `iostat` have them. */
export function plainLine(view: SeenDevice, unixMs: number): string {
  const time = `${new Date(unixMs).toISOString().slice(0, 19)}Z`;
  return [time, ...columns.map(({ head, width, text }) => aligned(head, width, text(view)))].join(' ');
}

/** Words to the left, numbers to the right. */
function aligned(head: string, width: number, text: string): string {
  return /^(?:DEVICE|STATE|DISKS|HEALTH)$/.test(head) ? text.padEnd(width) : text.padStart(width);
}

function figure(value: number): string {
  return value < 10 ? String(Number(value.toFixed(1))) : value.toFixed(0);
}

/** The same for programs: one object a device and look; null where there is nothing to tell yet. */
export function jsonOf({ name, status, figures }: SeenDevice, unixMs: number): object {
  const { remap } = status;
  return {
    unixMs,
    name,
    uuid: status.uuid,
    state: status.state,
    remapState: remap.state,
    health: remap.health,
    figures: figures === undefined ? null : figuresJson(figures),
    connections: status.connections,
    requestsInFlight: status.requestsInFlight,
    stuckRequests: status.stuckRequests.count,
    spareUsedPercent: remap.spareUsedPercent,
    remappedSectors: remap.remappedSectors,
    unreadableSectors: remap.unreadableSectors,
    freshZeroSectors: remap.freshZeroSectors,
    goneSectors: remap.goneSectors,
    healthScore: status.health?.score ?? null,
    scrubState: status.scrub?.state ?? null,
    scrubPositionBytes: status.scrub?.positionBytes ?? null,
  };
}

function figuresJson({ seconds, kinds, errors }: Figures): object {
  const each = (of: (kind: KindFigures) => number | undefined): object =>
    Object.fromEntries(trafficKinds.map((kind) => [kind, of(kinds[kind]) ?? null]));
  return {
    seconds,
    errors,
    requestsPerSecond: each(({ requestsPerSecond }) => requestsPerSecond),
    bytesPerSecond: each(({ bytesPerSecond }) => bytesPerSecond),
    medianSeconds: each(({ medianSeconds }) => medianSeconds),
    p99Seconds: each(({ p99Seconds }) => p99Seconds),
  };
}
