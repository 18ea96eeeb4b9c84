import { SetupError } from '../../device/setup-error.ts';
import { askAll } from '../ask-all.ts';
import { findDevice } from '../find-device.ts';
import { printJson, type Terminal } from '../terminal.ts';
import { type StatusForm, statusForm } from '../text/status-form.ts';

export interface StatusOptions extends StatusForm {
  /** `true` without a number of seconds. */
  readonly watch?: string | true;
}

/** `status [NAME]`: for people, `--line` as dmsetup prints it, `--csv` for tables, `--json` for machines. */
export async function runStatus(
  terminal: Terminal,
  name: string | undefined,
  options: StatusOptions,
): Promise<void> {
  refuseSeveralForms(options);
  if (options.watch !== undefined) {
    const { watchStatus } = await import('../watch-status.ts');
    await watchStatus(terminal, name, options, options.watch);
    return;
  }
  if (name !== undefined) {
    const status = await findDevice(name).client.status();
    if (options.json === true) printJson(terminal, status);
    else terminal.print(statusForm([status], options, true));
    return;
  }
  const { answers: statuses, silent } = await askAll((client) => client.status());
  if (options.json === true) printJson(terminal, statuses);
  else if (statuses.length > 0 || options.csv === true) {
    terminal.print(statusForm(statuses, options, false));
  }
  if (silent.length > 0) throw new SetupError('failed', silent.join('; '));
}

function refuseSeveralForms(options: StatusOptions): void {
  const forms = (['json', 'line', 'csv'] as const).filter((form) => options[form] === true);
  if (forms.length < 2) return;
  throw new SetupError('usage', `--${forms.join(' and --')} exclude each other; give one`);
}
