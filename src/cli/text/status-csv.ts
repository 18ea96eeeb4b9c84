import type { DeviceStatus } from '../../device/messages.ts';

type Cell = string | number;

/** In this order for ever; new columns come at the end. Names are those of `--json` and carry their units. */
const columns: readonly (readonly [name: string, of: (status: DeviceStatus) => Cell])[] = [
  ['name', ({ name }) => name],
  ['state', ({ state }) => state],
  ['health', ({ remap }) => remap.health],
  ['remapState', ({ remap }) => remap.state],
  ['sizeBytes', ({ sizeBytes }) => sizeBytes],
  ['granuleBytes', ({ remap }) => remap.granuleBytes],
  ['remappedGranules', ({ remap }) => remap.remappedGranules],
  ['remappedSectors', ({ remap }) => remap.remappedSectors],
  ['unreadableSectors', ({ remap }) => remap.unreadableSectors],
  ['freshZeroSectors', ({ remap }) => remap.freshZeroSectors],
  ['goneSectors', ({ remap }) => remap.goneSectors],
  ['slotsTotal', ({ remap }) => remap.slotsTotal],
  ['slotsUsed', ({ remap }) => remap.slotsUsed],
  ['slotsFree', ({ remap }) => remap.slotsFree],
  ['slotsRetired', ({ remap }) => remap.slotsRetired],
  ['replicasValid', ({ remap }) => remap.replicasValid],
  ['replicasTotal', ({ remap }) => remap.replicasTotal],
  ['connections', ({ connections }) => connections],
  ['requestsInFlight', ({ requestsInFlight }) => requestsInFlight],
  ...['mainReadErrors', 'mainWriteErrors', 'spareErrors', 'remaps', 'failedWrites', 'lostReads'].map(
    (counter) => [counter, ({ remap }: DeviceStatus) => remap.counters[counter] ?? 0] as const,
  ),
  ['mainPath', ({ main }) => main.path],
  ['sparePath', ({ spare }) => spare?.path ?? ''],
  ['uuid', ({ uuid }) => uuid],
  ['pid', ({ pid }) => pid],
  ['startedUnixSeconds', ({ startedUnixSeconds }) => startedUnixSeconds],
  // Empty where nobody watches.
  ['score', ({ health }) => health?.score ?? ''],
];

/** The line above the devices; with `time` the first column is when each was asked. */
export function statusCsvHead(time: boolean): string {
  return [...(time ? ['unixMs'] : []), ...columns.map(([name]) => name)].join(',');
}

export function statusCsvLine(status: DeviceStatus, unixMs?: number): string {
  const cells = columns.map(([, of]) => of(status));
  return [...(unixMs === undefined ? [] : [unixMs]), ...cells].map(cellText).join(',');
}

/** RFC 4180 section 2: quotes around what holds a comma, a quote or a line end; a quote is doubled. */
function cellText(cell: Cell): string {
  const text = String(cell);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
