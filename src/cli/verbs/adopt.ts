import { stateDirectory } from '../../device/host/state-directory.ts';
import { adoptSpare } from '../../device/spare/adopt-spare.ts';
import { printJson, type Terminal } from '../terminal.ts';

/** `adopt SPARE`: a copy of a spare becomes the spare. */
export async function runAdopt(
  terminal: Terminal,
  path: string,
  options: { readonly force?: boolean; readonly forceTakeover?: boolean; readonly json?: boolean },
): Promise<void> {
  const report = await adoptSpare({
    path,
    force: options.force === true,
    takeover: options.forceTakeover === true,
    stateDirectory: stateDirectory(),
  });
  if (options.json === true) {
    printJson(terminal, report);
    return;
  }
  const lines = [
    `  was  ${report.from}`,
    `  is   ${report.to}`,
    ...report.notes.map((note) => `  note ${note}`),
  ];
  terminal.print([`${report.name}: its spare is ${path} now`, ...lines].join('\n'));
}
