import { ControlError } from '../../control/client.ts';
import { type FoundDevice, findDevice } from '../find-device.ts';
import { printJson, type Terminal } from '../terminal.ts';
import { namingDevice, refuseWords } from './message.ts';

/** `policy NAME [POLICY [VALUE]]`: the message of that name, with the device's own words about what is wrong. */
export async function runPolicy(
  terminal: Terminal,
  name: string,
  policy: string | undefined,
  value: string | undefined,
  options: { readonly json?: boolean },
): Promise<void> {
  const words = ['policy', policy, value].filter((word) => word !== undefined);
  refuseWords(words);
  const reply = await askForPolicy(findDevice(name), words);
  if (options.json !== true) {
    terminal.print(reply);
    return;
  }
  const pairs = reply.split('\n').map((line): [string, string] => {
    const [key = '', text = ''] = line.split(' ');
    return [key, text];
  });
  printJson(terminal, { policies: Object.fromEntries(pairs) });
}

/** The device names its message in what it says of wrong words; here that is the command, which is named already. */
async function askForPolicy({ client, folder }: FoundDevice, words: readonly string[]): Promise<string> {
  try {
    return (await client.message(0, words)).reply;
  } catch (error) {
    if (!(error instanceof ControlError)) throw error;
    const plain = new ControlError(error.code, error.message.replace(/^policy: /, ''), { cause: error });
    throw namingDevice(folder.name, plain);
  }
}
