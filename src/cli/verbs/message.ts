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
  const { reply } = await findDevice(name).client.message(Number(sectorText), words);
  if (options.json === true) printJson(terminal, { reply });
  else if (reply !== '') terminal.print(reply);
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
