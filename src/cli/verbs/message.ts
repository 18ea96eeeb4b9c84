import { ControlError } from '../../control/client.ts';
import { messageWordLengthMax, messageWordsMax } from '../../device/messages.ts';
import { SetupError } from '../../device/setup-error.ts';
import { findDevice } from '../find-device.ts';
import { printJson, type Terminal } from '../terminal.ts';

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
  refuseWords(words);
  const { client } = findDevice(name);
  const { reply } = await client.message(Number(sectorText), words).catch((error: unknown) => {
    throw namingDevice(name, error);
  });
  if (options.json === true) printJson(terminal, { reply });
  else if (reply !== '') terminal.print(reply);
}

/** What a device says is wrong, with its name before it: somebody may ask several in one script. */
export function namingDevice(name: string, error: unknown): unknown {
  if (!(error instanceof ControlError) || error.message.startsWith(`${name}: `)) return error;
  return new ControlError(error.code, `${name}: ${error.message}`, { cause: error });
}

/** The device would say so too, in the words of its API. */
export function refuseWords(words: readonly string[]): void {
  if (words.length > messageWordsMax) {
    throw new SetupError('usage', `a message of ${words.length} words: expected at most ${messageWordsMax}`);
  }
  for (const word of words) {
    if (word === '') throw new SetupError('usage', 'a word of the message is empty');
    if (word.length <= messageWordLengthMax) continue;
    throw new SetupError(
      'usage',
      `a word of the message has ${word.length} characters: expected at most ${messageWordLengthMax}`,
    );
  }
}
