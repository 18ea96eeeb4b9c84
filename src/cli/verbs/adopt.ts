import { realpathSync } from 'node:fs';
import { ControlClient, ControlError } from '../../control/client.ts';
import { stateDirectory } from '../../device/host/state-directory.ts';
import { listDevices, runtimeDirectory } from '../../device/process/runtime-directory.ts';
import { SetupError } from '../../device/setup-error.ts';
import { adoptSpare } from '../../device/spare/adopt-spare.ts';
import { examineSpare } from '../../device/spare/examine-spare.ts';
import { printJson, type Terminal } from '../terminal.ts';

/** A copy of a spare that is being served now: its device goes on with the other one, and the two would part. */
async function refuseServed(path: string): Promise<void> {
  const { uuid } = await examineSpare(path);
  for (const { folder, state } of listDevices(runtimeDirectory())) {
    if (state.state !== 'live') continue;
    const served = await new ControlClient(folder.controlSocketPath).status().catch((error: unknown) => {
      if (error instanceof ControlError) return undefined;
      throw error;
    });
    // The very spare that is served refuses to be opened, and says so.
    if (served?.uuid !== uuid || served.spare?.path === realpathSync(path)) continue;
    throw new SetupError(
      'busy',
      `${path}: is a copy of the spare of ${served.name}, which is served from ${served.spare?.path ?? 'main alone'} now: remove ${served.name} first`,
    );
  }
}

/** `adopt SPARE`: a copy of a spare becomes the spare. */
export async function runAdopt(
  terminal: Terminal,
  path: string,
  options: { readonly force?: boolean; readonly forceTakeover?: boolean; readonly json?: boolean },
): Promise<void> {
  await refuseServed(path);
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
