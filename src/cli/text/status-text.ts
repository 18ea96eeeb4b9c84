import { sectorBytes } from '../../block/block-device.ts';
import type { DeviceStatus, DiskStatus, ProcessStatus } from '../../device/messages.ts';
import { formatBytes } from './byte-size.ts';

/**
 * One line as `dmsetup status` prints it:
 * `0 LENGTH remap MAIN SPARE STATE REMAPPED/SLOTS lost SECTORS replicas VALID/TOTAL`. Lengths are sectors.
 */
export function statusLine(status: DeviceStatus): string {
  const sectors = status.sizeBytes / sectorBytes;
  return `0 ${sectors} remap ${status.main.path} ${status.spare.path} ${status.remap.statusWords}`;
}

/** The same for people, a few lines. */
export function statusText(status: DeviceStatus): string {
  const { remap } = status;
  const rows: [string, string][] = [
    ['size', `${formatBytes(status.sizeBytes)}, blocks of ${status.logicalBlockBytes} bytes`],
    ['export', exportText(status)],
    ['main', `${diskText(status.main)}, ${cacheTexts[remap.mainCache] ?? remap.mainCache}`],
    ['spare', diskText(status.spare)],
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
    ['metadata', `${remap.replicasValid} of ${remap.replicasTotal} replicas valid`],
    ...policyRow(remap.changedPolicies),
    ['process', `${status.pid}, ${status.engine}, cache ${status.cache}, version ${status.version}`],
    ['memory', memoryText(status.process)],
    ...(status.hostState.trouble === ''
      ? []
      : [['host', `copy of the table ${status.hostState.trouble}`] satisfies [string, string]]),
    ...status.notes.map((note): [string, string] => ['note', note]),
  ];
  const title = `${status.name}: ${status.state}, ${remap.state}`;
  return [title, ...rows.map(([label, text]) => `  ${label.padEnd(9)} ${text}`)].join('\n');
}

function memoryText({ ioFlusher, memoryLocked, oomScoreAdjust, requestMemoryBytes }: ProcessStatus): string {
  const locked = memoryLocked ? 'locked' : 'not locked';
  const flusher = ioFlusher ? 'I/O flusher' : 'no I/O flusher';
  return `${formatBytes(requestMemoryBytes)} for requests, ${locked}, ${flusher}, OOM score ${oomScoreAdjust}`;
}

/** R13: what can be done about sectors that nobody can read. */
function lostAdvice({ name, remap }: DeviceStatus): [string, string][] {
  if (remap.unreadableSectors + remap.goneSectors === 0) return [];
  const zero = `dm-remap message ${name} 0 lost zero SECTOR COUNT yes`;
  return [['', `they work when written; as zeros with: ${zero}; for a disk without data: create --fresh`]];
}

/** R8: what the operator may expect of main's own cache. */
const cacheTexts: Readonly<Record<string, string>> = {
  none: 'no volatile cache',
  bypassed: 'its cache is bypassed',
  trusted: 'its cache is used until a sector fails',
  late: 'its cache is used: write errors may come late',
};

/** Only what is not as usual: nobody reads seven words that are always the same. */
function policyRow(policies: Readonly<Record<string, string>>): [string, string][] {
  const words = Object.entries(policies).map(([name, value]) => `${name} ${value}`);
  return words.length === 0 ? [] : [['policies', words.join(', ')]];
}

function exportText(status: DeviceStatus): string {
  const uris = status.exports.join(' ');
  return `${uris} (${status.connections} connections, ${status.requestsInFlight} requests in flight)`;
}

function diskText(disk: DiskStatus): string {
  const product = [disk.model, disk.serial].filter((part) => part !== '').join(' ');
  return `${disk.path}${product === '' ? '' : ` (${product})`}, ${formatBytes(disk.sizeBytes)}, ${disk.access}`;
}
