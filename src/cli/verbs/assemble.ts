import { resolve } from 'node:path';
import type { ServeOptions } from '../../device/serve-options.ts';
import { SetupError } from '../../device/setup-error.ts';
import { ExitCode } from '../exit-code.ts';
import { launchDevice } from '../launch.ts';
import { printJson, type Terminal } from '../terminal.ts';
import { locatedOptions, type ServeFlags, serveOptions } from './serve.ts';

export interface AssembleFlags extends ServeFlags {
  readonly all?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/**
 * `assemble [NAME] [--spare DEVICE]`, `assemble --all`: the device's process opens everything; it says what it found or why it could
 * not. Resolves to the exit code.
 */
export async function runAssemble(
  terminal: Terminal,
  name: string | undefined,
  flags: AssembleFlags,
): Promise<number> {
  if (flags.all === true) {
    refuseBesideAll(name, flags);
    const { runAssembleAll } = await import('./assemble-all.ts');
    return await runAssembleAll(terminal, flags, serveOptions(undefined, { ...flags, spare: '-' }));
  }
  if (flags.dryRun === true) throw new SetupError('usage', '--dry-run is for --all');
  await assembleOne(terminal, flags, await locatedOptions(name, flags));
  return ExitCode.ok;
}

/** What is true of one device alone means nothing for all of them. */
function refuseBesideAll(name: string | undefined, flags: AssembleFlags): void {
  const {
    spare,
    main,
    mainTable,
    withoutSpare,
    socket,
    port,
    force,
    forceTakeover,
    acceptMain,
    acceptChanges,
    wait,
  } = flags;
  const single = {
    spare,
    main,
    mainTable,
    withoutSpare,
    socket,
    port,
    force,
    forceTakeover,
    acceptMain,
    acceptChanges,
    wait,
  };
  if (name === undefined && Object.values(single).every((value) => value === undefined)) return;
  throw new SetupError('usage', '--all takes no name, and no option that is about one device');
}

async function assembleOne(terminal: Terminal, flags: AssembleFlags, options: ServeOptions): Promise<void> {
  const ready = await launchDevice(
    options.socketPath === undefined ? options : { ...options, socketPath: resolve(options.socketPath) },
  );
  if (flags.json === true) {
    printJson(terminal, { name: ready.name, exports: ready.exports, notes: ready.notes });
    return;
  }
  const notes = ready.notes.map((note) => `  note      ${note}`);
  const exports = ready.exports.map((uri) => `  export    ${uri}`);
  terminal.print([`${ready.name}: serving`, ...notes, ...exports].join('\n'));
}
