import { stateDirectory } from '../../device/host/state-directory.ts';
import { wipeSpare } from '../../device/spare/wipe-spare.ts';
import { printJson, type Terminal } from '../terminal.ts';

/** `wipe DEVICE --yes`: a spare becomes an ordinary disk again. */
export async function runWipe(
  terminal: Terminal,
  path: string,
  options: { readonly yes?: boolean; readonly forceTakeover?: boolean; readonly json?: boolean },
): Promise<void> {
  const report = await wipeSpare({
    path,
    confirmed: options.yes === true,
    takeover: options.forceTakeover === true,
    stateDirectory: stateDirectory(),
  });
  if (options.json === true) {
    printJson(terminal, report);
    return;
  }
  const whose = report.name === '' ? '' : `, it was the spare of ${report.name}`;
  const first = `${path}: ${report.superblocksWiped} superblocks wiped${whose}`;
  terminal.print([first, ...report.notes.map((note) => `  note ${note}`)].join('\n'));
}
