import { stateDirectory } from '../../device/host/state-directory.ts';
import { adoptMain } from '../../device/main/adopt-main.ts';
import { SetupError } from '../../device/setup-error.ts';
import { printJson, type Terminal } from '../terminal.ts';

export interface AdoptMainFlags {
  readonly main?: string;
  readonly acceptChanges?: boolean;
  readonly forceTakeover?: boolean;
  readonly json?: boolean;
}

/** `adopt-main SPARE --main DEV`: another disk becomes main. */
export async function runAdoptMain(terminal: Terminal, path: string, flags: AdoptMainFlags): Promise<void> {
  if (flags.main === undefined || flags.main === '') {
    throw new SetupError('usage', 'which disk is main now? give --main');
  }
  const report = await adoptMain({
    path,
    main: { kind: 'path', path: flags.main },
    acceptChanges: flags.acceptChanges === true,
    takeover: flags.forceTakeover === true,
    stateDirectory: stateDirectory(),
  });
  if (flags.json === true) {
    printJson(terminal, report);
    return;
  }
  const same = report.samplesCompared - report.samplesDifferent;
  const compared = `${same} of ${report.samplesCompared} samples are the same`;
  const was = report.difference === '' ? [] : [`  note ${report.difference}`];
  const notes = report.notes.map((note) => `  note ${note}`);
  terminal.print(
    [`${report.name}: its main is ${report.main} now, ${compared}`, ...was, ...notes].join('\n'),
  );
}
