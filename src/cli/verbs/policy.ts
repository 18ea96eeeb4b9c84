import { findDevice } from '../find-device.ts';
import { printJson, type Terminal } from '../terminal.ts';
import { refuseWords } from './message.ts';

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
  const { reply } = await findDevice(name).client.message(0, words);
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
