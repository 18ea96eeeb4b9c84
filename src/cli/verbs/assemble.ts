import { resolve } from 'node:path';
import type { ServeOptions } from '../../device/serve-options.ts';
import { launchDevice } from '../launch.ts';
import { printJson, type Terminal } from '../terminal.ts';
import { type ServeFlags, serveOptions } from './serve.ts';

export interface AssembleFlags extends ServeFlags {
  readonly json?: boolean;
}

/** `assemble [NAME] --spare DEVICE`: the device's process opens everything; it says what it found or why it could not. */
export async function runAssemble(
  terminal: Terminal,
  name: string | undefined,
  flags: AssembleFlags,
): Promise<void> {
  const options: ServeOptions = serveOptions(name, flags);
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
