import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ControlClient } from '../../control/client.ts';
import { SetupError } from '../../device/setup-error.ts';
import { findDevice } from '../find-device.ts';
import { printJson, type Terminal } from '../terminal.ts';
import { refuseWords } from './message.ts';

/** What is no path of a file. */
const nbdScheme = /^nbd(\+unix)?:/;

export interface ReplaceFlags {
  readonly giveUp?: boolean;
  readonly overwriteSpare?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

/** How often a replacement is asked how far it is. */
const askIntervalMs = 250;

/**
 * `spare replace NAME DEVICE`: another disk in place of the spare, while the device serves. Waits for its end, which comes also
 * when this command is interrupted.
 */
export async function runSpareReplace(
  terminal: Terminal,
  name: string,
  device: string,
  flags: ReplaceFlags,
): Promise<void> {
  const { client } = findDevice(name);
  const before = await client.status();
  if (before.spare === null) throw new SetupError('refused', `${name}: is served without its spare`);
  if (flags.giveUp === true && flags.yes !== true) {
    throw new SetupError(
      'refused',
      `${name}: gives up ${before.remap.remappedSectors} sectors that only ${before.spare.path} holds; --yes does it`,
    );
  }
  const path = nbdScheme.test(device) ? device : resolve(device);
  const words = ['spare', 'replace', path];
  if (flags.giveUp === true) words.push('give-up');
  if (flags.overwriteSpare === true) words.push('overwrite');
  refuseWords(words);
  await client.message(0, words);
  const end = await replaced(terminal, client, name);
  const { spare } = await client.status();
  if (!end.startsWith('done ')) throw new SetupError('failed', `${name}: ${end.replace(/^failed /, '')}`);
  const goneSectors = Number(/ gone (\d+)$/.exec(end)?.[1] ?? 0);
  const result = { name: before.name, from: before.spare.path, spare: spare?.path ?? path, goneSectors };
  if (flags.json === true) printJson(terminal, result);
  else terminal.print(replacedText(result));
}

async function replaced(terminal: Terminal, client: ControlClient, name: string): Promise<string> {
  try {
    for (;;) {
      const lines = (await client.message(0, ['spare'])).reply.split('\n');
      const saidOf = (word: string): string | undefined =>
        lines.find((line) => line.startsWith(`${word} `))?.slice(word.length + 1);
      const copied = saidOf('replacing-copied');
      if (copied === undefined) return saidOf('last-replacement') ?? 'failed: the device does not say why';
      terminal.progress?.(`${name}: ${copied} slots copied`);
      await sleep(askIntervalMs);
    }
  } finally {
    terminal.progress?.(undefined);
  }
}

function replacedText(result: {
  readonly name: string;
  readonly from: string;
  readonly spare: string;
  readonly goneSectors: number;
}): string {
  const gone =
    result.goneSectors === 0
      ? ''
      : `; ${result.goneSectors} sectors are gone, "dm-remap message ${result.name} 0 lost" lists them`;
  return `${result.name}: ${result.spare} is the spare now, in place of ${result.from}${gone}`;
}
