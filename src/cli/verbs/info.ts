import type { ControlClient } from '../../control/client.ts';
import type { DeviceStatus, DeviceTable } from '../../device/messages.ts';
import { SetupError } from '../../device/setup-error.ts';
import { askAll } from '../ask-all.ts';
import { findDevice } from '../find-device.ts';
import { printJson, type Terminal } from '../terminal.ts';

/** What `dmsetup info` tells of a device. */
export interface DeviceInfo {
  readonly name: string;
  readonly uuid: string;
  /** As dmsetup says it: nothing in between. */
  readonly state: 'ACTIVE' | 'SUSPENDED';
  readonly readOnly: boolean;
  /** Connections to its exports. */
  readonly openCount: number;
  readonly sizeBytes: number;
  readonly logicalBlockBytes: number;
  readonly physicalBlockBytes: number;
  /** Null while it is no block device of the kernel. */
  readonly attachment: DeviceStatus['attachment'];
  readonly exports: readonly string[];
  readonly table: readonly string[];
  /** Of a main that is a table itself; empty otherwise. */
  readonly mainTable: readonly string[];
}

/** `info [NAME]`: facts that do not change while nobody does anything. */
export async function runInfo(
  terminal: Terminal,
  name: string | undefined,
  options: { readonly json?: boolean },
): Promise<void> {
  if (name !== undefined) {
    const info = await infoOf(findDevice(name).client);
    if (options.json === true) printJson(terminal, info);
    else terminal.print(infoText(info));
    return;
  }
  const { answers: infos, silent } = await askAll(infoOf);
  if (options.json === true) printJson(terminal, infos);
  else if (infos.length > 0) terminal.print(infos.map(infoText).join('\n\n'));
  if (silent.length > 0) throw new SetupError('failed', silent.join('; '));
}

async function infoOf(client: ControlClient): Promise<DeviceInfo> {
  return deviceInfo(await client.status(), await client.table());
}

export function deviceInfo(status: DeviceStatus, table: DeviceTable): DeviceInfo {
  return {
    name: status.name,
    uuid: status.uuid,
    state: status.state === 'suspended' ? 'SUSPENDED' : 'ACTIVE',
    readOnly: status.spare === null,
    openCount: status.connections,
    sizeBytes: status.sizeBytes,
    logicalBlockBytes: status.logicalBlockBytes,
    physicalBlockBytes: status.physicalBlockBytes,
    attachment: status.attachment,
    exports: status.exports,
    table: table.lines,
    mainTable: table.mainLines,
  };
}

/** With dmsetup's labels where it has one. */
export function infoText(info: DeviceInfo): string {
  const rows: [string, string][] = [
    ['Name', info.name],
    ['State', `${info.state}${info.readOnly ? ' (READ-ONLY)' : ''}`],
    ['Open count', String(info.openCount)],
    ['Number of targets', String(info.table.length)],
    ['Size', `${info.sizeBytes} bytes`],
    ['Block size', `${info.logicalBlockBytes} bytes logical, ${info.physicalBlockBytes} physical`],
    ['UUID', info.uuid],
    ...(info.attachment === null ? [] : [['Attached', info.attachment.device] satisfies [string, string]]),
    ...info.exports.map((uri): [string, string] => ['Export', uri]),
    ...info.table.map((line): [string, string] => ['Table', line]),
    ...info.mainTable.map((line): [string, string] => ['Main', line]),
  ];
  return rows.map(([label, text]) => `${`${label}:`.padEnd(18)} ${text}`).join('\n');
}
