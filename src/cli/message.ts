import { SetupError } from '../device/setup-error.ts';
import { findDevice } from './find-device.ts';
import { printJson, type Terminal } from './terminal.ts';

/** `message NAME SECTOR WORDS…`: the reply always reaches the caller; an empty one prints nothing. */
export async function runMessage(
  terminal: Terminal,
  name: string,
  sectorText: string,
  words: readonly string[],
  options: { readonly json?: boolean },
): Promise<void> {
  if (!/^\d{1,15}$/.test(sectorText)) {
    throw new SetupError('usage', `${sectorText}: expected a sector number before the message, usually 0`);
  }
  const { reply } = await findDevice(name).client.message(Number(sectorText), words);
  if (options.json === true) printJson(terminal, { reply });
  else if (reply !== '') terminal.print(reply);
}
