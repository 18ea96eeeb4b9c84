import { ControlClient, ControlError } from '../../control/client.ts';
import { listDevices, runtimeDirectory } from '../../device/process/runtime-directory.ts';
import { type ScanRow, scanSpares } from '../../device/spare/scan-spares.ts';
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
  const [rows, live] = await Promise.all([scanSpares(paths), liveDevices()]);
  const spares = rows.map((row) => ({ ...row, servedAs: live.get(row.uuid) ?? '' }));
  if (options.json === true) printJson(terminal, spares);
  else if (spares.length > 0) terminal.print(scanText(spares));
}

/** Names by UUID. */
async function liveDevices(): Promise<ReadonlyMap<string, string>> {
  const names = new Map<string, string>();
  for (const { folder, state } of listDevices(runtimeDirectory())) {
    if (state.state !== 'live') continue;
    try {
      const { uuid, name } = await new ControlClient(folder.controlSocketPath).status();
      names.set(uuid, name);
    } catch (error) {
      if (!(error instanceof ControlError)) throw error;
    }
  }
  return names;
}

export function scanText(spares: readonly ScannedSpare[]): string {
  return columns([
    ['SPARE', 'STATE', 'NAME', 'UUID', 'MAIN'],
    ...spares.map((spare) => [
      spare.path,
      spare.servedAs === '' ? spare.state : 'served',
      spare.name === '' ? '-' : spare.name,
      spare.uuid === '' ? '-' : spare.uuid,
      mainText(spare),
    ]),
  ]);
}

function mainText({ main, mainPath, mainFoundPath, detail }: ScannedSpare): string {
  if (detail !== '') return detail;
  if (main === '') return '-';
  return main === 'missing' ? `${mainPath} missing` : `${mainFoundPath} ${main}`;
}
