import { formatBytes } from '../../block/byte-text.ts';
import type { DeviceStatus } from '../../device/messages.ts';
import { SetupError } from '../../device/setup-error.ts';
import { findDevice } from '../find-device.ts';
import { printJson, type Terminal } from '../terminal.ts';
import { columns } from '../text/columns.ts';

/** One spare of a device, for people and machines. */
interface SpareLine {
  /** `spare` has the metadata, `spare-1` and so on are beside it. */
  readonly place: string;
  readonly path: string;
  /** 0 for one that is not there. */
  readonly sizeBytes: number;
  readonly model: string;
  readonly serial: string;
  /** `available`, `in-use`, `full`, `failed` or `leaving`. */
  readonly state: string;
  readonly slotsTotal: number;
  readonly slotsUsed: number;
  readonly slotsFree: number;
  readonly slotsRetired: number;
  readonly usedPercent: number;
  /** When all of them are full, if it goes on like the last week; null when nothing grows. */
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
  const lines = spareLines(status, (await client.message(0, ['spare'])).reply);
  if (options.json === true) printJson(terminal, { name: status.name, spares: lines });
  else terminal.print(spareText(lines));
}

/** `reply` is that to the message `spare`: the table has to be walked for the forecast. */
function spareLines({ name, spare }: DeviceStatus, reply: string): readonly SpareLine[] {
  if (spare === null) throw new SetupError('refused', `${name}: is served without its spare`);
  const days = /^full-in-days (\d+)$/m.exec(reply)?.[1];
  const fullInDays = days === undefined ? null : Number(days);
  const found = reply.matchAll(/^one (\S+) (\S+) (\d+) (\d+) (\d+) (\d+) (\d+) (.*)$/gm);
  return [...found].map(([, place = '', state = '', total, used, free, retired, size, path = '']) => {
    const isHome = place === 'spare';
    const slotsTotal = Number(total);
    const slotsFree = Number(free);
    return {
      place,
      path,
      sizeBytes: Number(size),
      model: isHome ? spare.model : '',
      serial: isHome ? spare.serial : '',
      state,
      slotsTotal,
      slotsUsed: Number(used),
      slotsFree,
      slotsRetired: Number(retired),
      usedPercent: slotsTotal === 0 ? 100 : Math.floor((100 * (slotsTotal - slotsFree)) / slotsTotal),
      fullInDays,
    };
  });
}

function spareText(spares: readonly SpareLine[]): string {
  const several = spares.length > 1;
  return columns([
    [...(several ? ['PLACE'] : []), 'SPARE', 'SIZE', 'STATE', 'USED', 'FREE', 'BAD', 'FULL IN'],
    ...spares.map((spare) => [
      ...(several ? [spare.place] : []),
      spare.path,
      spare.sizeBytes === 0 ? '-' : formatBytes(spare.sizeBytes),
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
