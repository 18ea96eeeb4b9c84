import { SetupError } from '../../device/setup-error.ts';
import { askAll } from '../ask-all.ts';
import { ExitCode } from '../exit-code.ts';
import { findDevice } from '../find-device.ts';
import { printJson, type Terminal } from '../terminal.ts';
import { type StatusForm, statusForm } from '../text/status-form.ts';

export interface StatusOptions extends StatusForm {
  /** `true` without a number of seconds. */
  readonly watch?: string | true;
  readonly check?: boolean;
  readonly checker?: string;
  readonly grewFor?: string;
  readonly acknowledge?: boolean;
}

/**
 * `status [NAME]`: for people, `--line` as dmsetup prints it, `--csv` for tables, `--json` for machines. Resolves to the exit code,
 * which says something of disks only with `--check`: a script that asks how things are has its answer, whatever that is.
 */
export async function runStatus(
  terminal: Terminal,
  name: string | undefined,
  options: StatusOptions,
): Promise<number> {
  refuseSeveralForms(options);
  if (options.check === true) {
    refuseBesideCheck(options);
    const { runStatusCheck } = await import('./status-check.ts');
    return await runStatusCheck(terminal, name === undefined ? [] : [name], options);
  }
  if ((options.checker ?? options.grewFor ?? options.acknowledge) !== undefined)
    throw new SetupError('usage', '--checker, --grew-for and --acknowledge go with --check');
  if (options.watch !== undefined) {
    const { watchStatus } = await import('../watch-status.ts');
    await watchStatus(terminal, name, options, options.watch);
    return ExitCode.ok;
  }
  if (name !== undefined) {
    const status = await findDevice(name).client.status();
    if (options.json === true) printJson(terminal, status);
    else terminal.print(statusForm([status], options, true));
    return ExitCode.ok;
  }
  const { answers: statuses, silent } = await askAll((client) => client.status());
  if (options.json === true) printJson(terminal, statuses);
  else if (statuses.length > 0 || options.csv === true) {
    terminal.print(statusForm(statuses, options, false));
  }
  if (silent.length > 0) throw new SetupError('failed', silent.join('; '));
  return ExitCode.ok;
}

function refuseBesideCheck({ watch, line, csv }: StatusOptions): void {
  if (watch === undefined && line !== true && csv !== true) return;
  throw new SetupError('usage', '--check excludes --watch, --line and --csv');
}

function refuseSeveralForms(options: StatusOptions): void {
  const forms = (['json', 'line', 'csv'] as const).filter((form) => options[form] === true);
  if (forms.length < 2) return;
  throw new SetupError('usage', `--${forms.join(' and --')} exclude each other; give one`);
}
