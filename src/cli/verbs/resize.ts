import { formatBytes } from '../../block/byte-text.ts';
import { stateDirectory } from '../../device/host/state-directory.ts';
import { resizeMain } from '../../device/main/resize-main.ts';
import { mainChoice } from '../device-arguments.ts';
import { printJson, type Terminal } from '../terminal.ts';

export interface ResizeFlags {
  readonly main?: string;
  readonly mainTable?: string;
  readonly forceTakeover?: boolean;
  readonly json?: boolean;
}

/** `resize SPARE`: the device gets the size that its main has now. */
export async function runResize(terminal: Terminal, path: string, flags: ResizeFlags): Promise<void> {
  const main = mainChoice({ ...flags, cache: 'none' });
  const report = await resizeMain({
    path,
    ...(main === undefined ? {} : { main }),
    takeover: flags.forceTakeover === true,
    stateDirectory: stateDirectory(),
  });
  if (flags.json === true) {
    printJson(terminal, report);
    return;
  }
  const { name, bytesBefore, bytesNow } = report;
  const size =
    bytesNow === bytesBefore
      ? `has ${formatBytes(bytesNow)}, as its main`
      : `has ${formatBytes(bytesNow)} from now on, before ${formatBytes(bytesBefore)}`;
  terminal.print([`${name}: ${size}`, ...report.notes.map((note) => `  note ${note}`)].join('\n'));
}
