import { stateDirectory } from '../../device/host/state-directory.ts';
import { SetupError } from '../../device/setup-error.ts';
import { checkMetadata, dumpMetadata, repairMetadata } from '../../device/spare/metadata-tools.ts';
import { restoreDump } from '../../device/spare/restore-dump.ts';
import { ExitCode } from '../exit-code.ts';
import { printJson, type Terminal } from '../terminal.ts';

interface JsonFlag {
  readonly json?: boolean;
}

/** `metadata dump SPARE`: what `restore` takes, and people can read. */
export async function runDump(
  terminal: Terminal,
  path: string,
  options: JsonFlag & { readonly force?: boolean },
): Promise<void> {
  const text = await dumpMetadata(path, options.force === true);
  if (options.json === true) printJson(terminal, { path, dump: text.trimEnd().split('\n') });
  else terminal.print(text.trimEnd());
}

/** `metadata check SPARE`: one line a finding. Resolves to the exit code: 0 for none, 6 for damage. */
export async function runCheck(terminal: Terminal, path: string, options: JsonFlag): Promise<number> {
  const findings = await checkMetadata(path);
  if (options.json === true) printJson(terminal, { path, findings });
  else if (findings.length > 0) terminal.print(findings.map((finding) => `${path}: ${finding}`).join('\n'));
  return findings.length === 0 ? ExitCode.ok : ExitCode.notASpare;
}

/** `metadata repair SPARE --yes` */
export async function runRepair(
  terminal: Terminal,
  path: string,
  options: JsonFlag & { readonly yes?: boolean; readonly forceTakeover?: boolean },
): Promise<void> {
  refuseUnconfirmed(path, options, 'all replicas of its metadata are written anew');
  const report = await repairMetadata({
    path,
    takeover: options.forceTakeover === true,
    stateDirectory: stateDirectory(),
  });
  if (options.json === true) {
    printJson(terminal, report);
    return;
  }
  const { name, replicasValid, replicasTotal, replicasValidBefore } = report;
  const first = `${name}: ${replicasValid} of ${replicasTotal} replicas valid, ${replicasValidBefore} before`;
  terminal.print([first, ...report.notes.map((note) => `  note ${note}`)].join('\n'));
}

/** `metadata restore FILE SPARE --yes` */
export async function runRestore(
  terminal: Terminal,
  dumpPath: string,
  path: string,
  options: JsonFlag & { readonly yes?: boolean; readonly force?: boolean; readonly forceTakeover?: boolean },
): Promise<void> {
  refuseUnconfirmed(path, options, `its metadata is replaced by that of ${dumpPath}`);
  const force = options.force === true;
  const report = await restoreDump({
    dumpPath,
    path,
    force,
    takeover: options.forceTakeover === true,
    stateDirectory: stateDirectory(),
  });
  if (options.json === true) {
    printJson(terminal, report);
    return;
  }
  const first = `${report.name}: ${report.records} records restored, sequence ${report.sequence}`;
  terminal.print([first, ...report.notes.map((note) => `  note ${note}`)].join('\n'));
}

function refuseUnconfirmed(path: string, options: { readonly yes?: boolean }, what: string): void {
  if (options.yes === true) return;
  throw new SetupError('refused', `${path}: ${what}; --yes does it`);
}
