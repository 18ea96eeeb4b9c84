import { sectorBytes } from '../../block/block-device.ts';
import { formatBytes, formatExactBytes } from '../../block/byte-text.ts';
import type { DeviceStatus, DiskStatus, ProcessStatus, TrafficStatus } from '../../device/messages.ts';
import { describeUnanswered } from '../../device/stack/describe-unanswered.ts';
import { scoreMax } from '../../health/health-score.ts';
import { durationText } from './duration-text.ts';
import { scrubLine } from './scrub-text.ts';

/** Stands where a spare's path would in the line of a device without one. */
const noSpare = '-';

/**
 * One line as `dmsetup status` prints it:
 * `0 LENGTH remap MAIN SPARE STATE REMAPPED/SLOTS lost SECTORS replicas VALID/TOTAL`. Lengths are sectors.
 */
export function statusLine(status: DeviceStatus): string {
  const sectors = status.sizeBytes / sectorBytes;
  return `0 ${sectors} remap ${status.main.path} ${status.spare?.path ?? noSpare} ${status.remap.statusWords}`;
}

export type Row = readonly [label: string, text: string];

/** The same for people, a few lines. */
export function statusText(status: DeviceStatus): string {
  const { remap } = status;
  const rows: Row[] = [
    ['size', sizeText(status)],
    ...status.exports.map((uri): Row => ['export', uri]),
    ...attachmentRow(status),
    ['clients', clientsText(status)],
    ...trafficRows(status.traffic),
    ...stuckRow(status),
    ...scoreRow(status),
    ...(status.spare === null ? sparelessRows(status) : diskRows(status, status.spare)),
    ...policyRow(remap.changedPolicies),
    ['process', `${status.pid}, ${status.engine}, cache ${status.cache}, version ${status.version}`],
    ['memory', memoryText(status.process)],
    ...(status.hostState.trouble === ''
      ? []
      : [['host', `copy of the table ${status.hostState.trouble}`] satisfies Row]),
    ...eventLogRow(status.eventLog),
    ...status.notes.map((note): Row => ['note', note]),
  ];
  return titled(`${status.name}: ${status.state}, ${remap.health}`, rows);
}

/** Where it is a block device of the kernel. */
function attachmentRow({ name, attachment }: DeviceStatus): Row[] {
  if (attachment === null) return [];
  const { device, kind, readOnly, queueSeconds } = attachment;
  const loss =
    queueSeconds > 0 ? `waits ${queueSeconds} s for a process that died` : 'fails with its process';
  const words = [kind, ...(readOnly ? ['read-only'] : []), loss];
  return [['attached', `${device}, /dev/dm-remap/${name} (${words.join(', ')})`]];
}

/** How healthy all of it is, and what is most urgent. */
function scoreRow({ name, health }: DeviceStatus): Row[] {
  if (health === null) return [['score', 'nobody watches: the policy health is off']];
  const [first] = health.advice;
  const why = health.score === scoreMax ? '' : `: dm-remap health ${name}`;
  return [
    ['score', `${health.score} of ${scoreMax} (${scoreMax} is healthy)${why}`],
    ...(first === undefined ? [] : [['advice', first.text] satisfies Row]),
  ];
}

/** Only when something is wrong with it, or missing in it. */
function eventLogRow({ trouble, dropped }: DeviceStatus['eventLog']): Row[] {
  const words = [
    ...(trouble === '' ? [] : [trouble]),
    ...(dropped === 0 ? [] : [`${dropped} events could not be stored`]),
  ];
  return words.length === 0 ? [] : [['events', words.join('; ')]];
}

/** A title, and below it rows with labels of one width. */
export function titled(title: string, rows: readonly Row[]): string {
  return [title, ...rows.map(([label, text]) => `  ${label.padEnd(9)} ${text}`)].join('\n');
}

/** `64 MiB (131072 sectors), blocks of 512 bytes, 4 KiB on the disk` */
function sizeText(status: DeviceStatus): string {
  const physical =
    status.physicalBlockBytes === status.logicalBlockBytes
      ? ''
      : `, ${formatBytes(status.physicalBlockBytes)} on the disks`;
  const sectors = status.sizeBytes / sectorBytes;
  return `${formatBytes(status.sizeBytes)} (${sectors} sectors), blocks of ${formatBytes(status.logicalBlockBytes)}${physical}`;
}

function diskRows(status: DeviceStatus, spare: DiskStatus): readonly Row[] {
  const { remap } = status;
  const { health, healthReasons } = remap;
  return [
    ['health', [health, ...(healthReasons.length === 0 ? [] : [healthReasons.join('; ')])].join(': ')],
    ['main', `${diskText(status.main)}, ${cacheTexts[remap.mainCache] ?? remap.mainCache}`],
    ['spare', diskText(spare)],
    [
      'remapped',
      `${remap.remappedGranules} granules of ${formatBytes(remap.granuleBytes)} (${remap.remappedSectors} sectors)`,
    ],
    [
      'slots',
      `${remap.slotsFree} of ${remap.slotsTotal} free, ${remap.slotsRetired} retired, verify ${remap.verify}`,
    ],
    ['lost', `${remap.unreadableSectors} sectors unreadable, ${remap.goneSectors} gone`],
    ...lostAdvice(status),
    ...freshRow(remap.freshZeroSectors),
    ['metadata', `${remap.replicasValid} of ${remap.replicasTotal} replicas valid`],
    ...scrubRow(status.scrub),
  ];
}

/** Only on a device that was scrubbed, or is. */
function scrubRow(scrub: DeviceStatus['scrub']): readonly Row[] {
  if (scrub === null || (scrub.state === 'idle' && scrub.ended.length === 0)) return [];
  return [['scrub', scrubLine(scrub)], ...(scrub.trouble === '' ? [] : [['', scrub.trouble] satisfies Row])];
}

/** M13: there are no slots, no replicas and no caches of writes to tell of. */
function sparelessRows({ main, remap }: DeviceStatus): readonly Row[] {
  const lost = remap.unreadableSectors + remap.freshZeroSectors + remap.goneSectors;
  return [
    ['main', `${diskText(main)}, read-only`],
    ['spare', 'none'],
    [
      'lost',
      `${remap.remappedSectors} sectors were on the spare, ${lost} more are lost: reading them is an error`,
    ],
  ];
}

function memoryText({ ioFlusher, memoryLocked, oomScoreAdjust, requestMemoryBytes }: ProcessStatus): string {
  const locked = memoryLocked ? 'locked' : 'not locked';
  const flusher = ioFlusher ? 'I/O flusher' : 'no I/O flusher';
  return `${formatBytes(requestMemoryBytes)} for requests, ${locked}, ${flusher}, OOM score ${oomScoreAdjust}`;
}

/** I22: only while there is anything to say. */
function stuckRow({ stuckRequests }: DeviceStatus): [string, string][] {
  const text = describeUnanswered(stuckRequests);
  return text === undefined ? [] : [['stuck', text]];
}

/** R13, R34: what can be done about sectors that nobody can read, or that a list says nobody can. */
function lostAdvice({ name, remap }: DeviceStatus): readonly Row[] {
  if (remap.unreadableSectors + remap.goneSectors === 0) return [];
  const message = `dm-remap message ${name} 0`;
  return [
    ['', `ask main again: ${message} retry all; they work when written`],
    ['', `as zeros: ${message} lost zero SECTOR COUNT yes; for a disk without data: create --fresh`],
  ];
}

/** Unreadable, and nobody misses them: they are no loss. */
function freshRow(sectors: number): readonly Row[] {
  return sectors === 0 ? [] : [['fresh', `${sectors} sectors main cannot read were never written: zeros`]];
}

/** R8: what the operator may expect of main's own cache. */
const cacheTexts: Readonly<Record<string, string>> = {
  none: 'no volatile cache',
  bypassed: 'its cache is bypassed',
  trusted: 'its cache is used until a sector fails',
  late: 'its cache is used: write errors may come late',
};

/** Only what is not as usual: nobody reads seven words that are always the same. */
function policyRow(policies: Readonly<Record<string, string>>): readonly Row[] {
  const words = Object.entries(policies).map(([name, value]) => `${name} ${value}`);
  return words.length === 0 ? [] : [['policies', words.join(', ')]];
}

function clientsText({ connections, requestsInFlight }: DeviceStatus): string {
  return `${countOf(connections, 'connection')}, ${countOf(requestsInFlight, 'request')} in flight`;
}

/** Nothing is said of what nobody asked for. */
function trafficRows({ requests, bytes, errors, latency }: TrafficStatus): readonly Row[] {
  const { read, write, flush, other } = latency;
  if (read.count + write.count + flush.count + other.count === 0) return [];
  const counts = [
    `${countOf(requests.read, 'read')} (${formatBytes(bytes.read)})`,
    `${countOf(requests.write, 'write')} (${formatBytes(bytes.write)})`,
    requests.flush === 1 ? '1 flush' : `${requests.flush} flushes`,
    ...(errors === 0 ? [] : [`${errors} failed`]),
  ];
  const times = [['read', read] as const, ['write', write] as const, ['flush', flush] as const]
    .filter(([, { count }]) => count > 0)
    .map(
      ([kind, { medianSeconds, p99Seconds }]) =>
        `${kind} ${durationText(medianSeconds)} (p99 ${durationText(p99Seconds)})`,
    );
  return [
    ['requests', counts.join(', ')],
    ...(times.length === 0 ? [] : [['took', times.join(', ')] satisfies Row]),
  ];
}

function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

function diskText(disk: DiskStatus): string {
  const product = [disk.model, disk.serial].filter((part) => part !== '').join(' ');
  const size = formatExactBytes(disk.sizeBytes);
  return `${disk.path}${product === '' ? '' : ` (${product})`}, ${size}, ${disk.access}`;
}
