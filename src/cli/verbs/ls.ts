import { formatBytes } from '../../block/byte-text.ts';
import { ControlClient, ControlError } from '../../control/client.ts';
import type { DeviceStatus } from '../../device/messages.ts';
import { type ListedDevice, listDevices, runtimeDirectory } from '../../device/process/runtime-directory.ts';
import { printJson, type Terminal } from '../terminal.ts';
import { columns } from '../text/columns.ts';

/** One device of the list. */
export interface ListRow {
  readonly name: string;
  /** A lifecycle state, `dead` (its process was killed) or `silent` (it is there and does not answer). */
  readonly state: string;
  readonly pid: number | null;
  readonly health: string;
  readonly sizeBytes: number | null;
  readonly remapped: number | null;
  /** `/dev/loop0`; `-` where it is no block device of the kernel. */
  readonly attached: string;
  readonly export: string;
}

/** `ls`: every device of this user, dead ones too. */
export async function runList(terminal: Terminal, options: { readonly json?: boolean }): Promise<void> {
  const rows = await Promise.all(listDevices(runtimeDirectory()).map(rowOf));
  if (options.json === true) printJson(terminal, rows);
  else if (rows.length > 0) terminal.print(listText(rows));
}

async function rowOf(device: ListedDevice): Promise<ListRow> {
  const name = device.folder.name;
  if (device.state.state !== 'live') return rowWithout(name, 'dead', null);
  try {
    const status = await new ControlClient(device.folder.controlSocketPath).status();
    return rowWith(status);
  } catch (error) {
    if (!(error instanceof ControlError)) throw error;
    return rowWithout(name, 'silent', device.state.process.pid);
  }
}

function rowWithout(name: string, state: string, pid: number | null): ListRow {
  return { name, state, pid, health: '-', sizeBytes: null, remapped: null, attached: '-', export: '-' };
}

function rowWith(status: DeviceStatus): ListRow {
  return {
    name: status.name,
    state: status.state,
    pid: status.pid,
    health: status.remap.health,
    sizeBytes: status.sizeBytes,
    remapped: status.remap.remappedGranules,
    attached: status.attachment?.device ?? '-',
    export: status.exports[0] ?? '-',
  };
}

/** A table with a head, columns as wide as their widest entry. */
export function listText(rows: readonly ListRow[]): string {
  return columns([
    ['NAME', 'STATE', 'HEALTH', 'SIZE', 'REMAPPED', 'PID', 'ATTACHED', 'EXPORT'],
    ...rows.map((row) => [
      row.name,
      row.state,
      row.health,
      row.sizeBytes === null ? '-' : formatBytes(row.sizeBytes),
      String(row.remapped ?? '-'),
      String(row.pid ?? '-'),
      row.attached,
      row.export,
    ]),
  ]);
}
