import { formatBytes } from '../../block/byte-text.ts';
import type { DeviceStatus } from '../../device/messages.ts';
import { SetupError } from '../../device/setup-error.ts';
import { findDevice } from '../find-device.ts';
import { printJson, type Terminal } from '../terminal.ts';
import { columns } from '../text/columns.ts';

/** One spare of a device, for people and machines. */
interface SpareLine {
  readonly path: string;
  readonly sizeBytes: number;
  readonly model: string;
  readonly serial: string;
  /** `available`, `in-use`, `full` or `failed`. */
  readonly state: string;
  readonly slotsTotal: number;
  readonly slotsUsed: number;
  readonly slotsFree: number;
  readonly slotsRetired: number;
  readonly usedPercent: number;
  /** When it goes on like the last week; null when nothing grows. */
  readonly fullInDays: number | null;
}

/** `spare list NAME`: the spares of a device that is served, and how long they last. */
export async function runSpareList(
  terminal: Terminal,
  name: string,
  options: { readonly json?: boolean },
): Promise<void> {
  const { client } = findDevice(name);
  const status = await client.status();
  const line = spareLine(status, (await client.message(0, ['spare'])).reply);
  if (options.json === true) printJson(terminal, { name: status.name, spares: [line] });
  else terminal.print(spareText([line]));
}

/** `forecast` is the reply to the message `spare`: the table has to be walked for it. */
function spareLine({ name, spare, remap }: DeviceStatus, forecast: string): SpareLine {
  if (spare === null) throw new SetupError('refused', `${name}: is served without its spare`);
  const days = /^full-in-days (\d+)$/m.exec(forecast)?.[1];
  return {
    path: spare.path,
    sizeBytes: spare.sizeBytes,
    model: spare.model,
    serial: spare.serial,
    state: remap.spareState,
    slotsTotal: remap.slotsTotal,
    slotsUsed: remap.slotsUsed,
    slotsFree: remap.slotsFree,
    slotsRetired: remap.slotsRetired,
    usedPercent: remap.spareUsedPercent,
    fullInDays: days === undefined ? null : Number(days),
  };
}

function spareText(spares: readonly SpareLine[]): string {
  return columns([
    ['SPARE', 'SIZE', 'STATE', 'USED', 'FREE', 'BAD', 'FULL IN'],
    ...spares.map((spare) => [
      spare.path,
      formatBytes(spare.sizeBytes),
      spare.state,
      `${spare.usedPercent} %`,
      `${spare.slotsFree} of ${spare.slotsTotal}`,
      `${spare.slotsRetired}`,
      daysText(spare.fullInDays),
    ]),
  ]);
}

function daysText(days: number | null): string {
  if (days === null) return '-';
  return days === 0 ? 'less than a day' : `${days} day${days === 1 ? '' : 's'}`;
}
