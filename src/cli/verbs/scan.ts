import { setTimeout as sleep } from 'node:timers/promises';
import { ControlClient } from '../../control/client.ts';
import { listDevices, runtimeDirectory } from '../../device/process/runtime-directory.ts';
import { isWorldError } from '../../device/setup-failure.ts';
import { type ScanRow, scanDeadlineMs, scanSpares } from '../../device/spare/scan-spares.ts';
import { identifyDevice } from '../../io/disk-identity.ts';
import { printJson, type Terminal } from '../terminal.ts';
import { columns } from '../text/columns.ts';

/** A spare, and the device that is served from it now. */
export interface ScannedSpare extends ScanRow {
  /** Empty unless a live device of this user has it. */
  readonly servedAs: string;
}

/** `scan [DEVICE…]`: which disks carry our spares. */
export async function runScan(
  terminal: Terminal,
  paths: readonly string[],
  options: { readonly json?: boolean },
): Promise<void> {
  const spares = await findSpares(paths);
  if (options.json === true) printJson(terminal, spares);
  else if (spares.length > 0) terminal.print(scanText(spares));
}

/** What is on these disks and images, or on all disks of the machine, and what of it is served now. */
export async function findSpares(
  paths: readonly string[],
  scan: (paths: readonly string[]) => Promise<readonly ScanRow[]> = scanSpares,
): Promise<readonly ScannedSpare[]> {
  const [rows, live] = await Promise.all([scan(paths), liveDevices()]);
  return rows.map((row) => ({ ...row, servedAs: live.get(row.key) ?? '' }));
}

/** Names by the key of their spare: a copy of it has the same UUID, and is not served. */
async function liveDevices(): Promise<ReadonlyMap<string, string>> {
  const live = listDevices(runtimeDirectory()).filter(({ state }) => state.state === 'live');
  const found = await Promise.all(live.map(({ folder }) => servedSpare(folder.controlSocketPath)));
  return new Map(found.filter((one) => one !== undefined));
}

/** The key of its spare, and its name; undefined where it does not answer, or its spare was pulled out or hangs. */
async function servedSpare(controlSocketPath: string): Promise<[key: string, name: string] | undefined> {
  try {
    const { spare, name } = await new ControlClient(controlSocketPath).status();
    if (spare === null) return undefined;
    const late = sleep(scanDeadlineMs, undefined, { ref: false });
    const identity = await Promise.race([identifyDevice(spare.path), late]);
    return identity === undefined ? undefined : [identity.key, name];
  } catch (error) {
    if (!isWorldError(error)) throw error;
    return undefined;
  }
}

export function scanText(spares: readonly ScannedSpare[]): string {
  return columns([
    ['SPARE', 'STATE', 'NAME', 'UUID', 'MAIN'],
    ...spares.map((spare) => [
      spare.path,
      stateText(spare),
      spare.name === '' ? '-' : spare.name,
      spare.uuid === '' ? '-' : spare.uuid,
      mainText(spare),
    ]),
  ]);
}

function stateText({ servedAs, copyOf, state }: ScannedSpare): string {
  if (servedAs !== '') return 'served';
  return copyOf === '' ? state : 'copy';
}

function mainText({ main, mainPath, mainFoundPath, copyOf, detail }: ScannedSpare): string {
  if (detail !== '') return detail;
  if (copyOf !== '') return copyOf;
  if (main === '') return '-';
  if (main === 'elsewhere') return mainPath;
  return main === 'missing' ? `${mainPath} missing` : `${mainFoundPath} ${main}`;
}
