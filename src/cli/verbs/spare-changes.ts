import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { formatBytes } from '../../block/byte-text.ts';
import type { ControlClient } from '../../control/client.ts';
import { SetupError } from '../../device/setup-error.ts';
import { findDevice } from '../find-device.ts';
import { printJson, type Terminal } from '../terminal.ts';
import { refuseWords } from './message.ts';

/** What is no path of a file: an export, or the place of a spare that is not there. */
const noPath = /^(nbd(\+unix)?:|spare(-\d+)?$)/;

export interface AddFlags {
  readonly checkSpare?: boolean;
  readonly overwriteSpare?: boolean;
  readonly json?: boolean;
}

export interface RemoveFlags {
  readonly giveUp?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

/** How often the device is asked how far it is. */
const askIntervalMs = 250;

/** `spare add NAME DEVICE`: one more spare, while the device serves. Waits for the end, which comes also when this is interrupted. */
export async function runSpareAdd(
  terminal: Terminal,
  name: string,
  device: string,
  flags: AddFlags,
): Promise<void> {
  const client = await served(name);
  const words = ['spare', 'add', pathOf(device)];
  if (flags.overwriteSpare === true) words.push('overwrite');
  if (flags.checkSpare === true) words.push('check');
  const end = await carriedOut(terminal, client, name, words);
  const [, slots, bad, path] = /^added (\d+) bad (\d+) (.*)$/.exec(end) ?? [];
  if (path === undefined) throw new SetupError('failed', `${name}: ${end.replace(/^failed /, '')}`);
  const result = { name, path, slots: Number(slots), badSlots: Number(bad) };
  if (flags.json === true) printJson(terminal, result);
  else {
    const checked = result.badSlots === 0 ? '' : `; ${result.badSlots} bad ones are not used`;
    terminal.print(`${name}: ${path} is one more spare, of ${result.slots} slots${checked}`);
  }
}

/** `spare remove NAME DEVICE`: what it holds moves to the others, then it is an ordinary disk. Waits as `spare add`. */
export async function runSpareRemove(
  terminal: Terminal,
  name: string,
  device: string,
  flags: RemoveFlags,
): Promise<void> {
  const client = await served(name);
  if (flags.giveUp === true && flags.yes !== true) {
    throw new SetupError(
      'refused',
      `${name}: gives up what ${device} cannot give, and of one that does not answer all that only it holds; --yes does it`,
    );
  }
  const words = ['spare', 'remove', pathOf(device)];
  if (flags.giveUp === true) words.push('give-up');
  const end = await carriedOut(terminal, client, name, words);
  const [, gone, path] = /^removed (\d+) (.*)$/.exec(end) ?? [];
  if (path === undefined) throw new SetupError('failed', `${name}: ${end.replace(/^failed /, '')}`);
  const result = { name, path, goneSectors: Number(gone) };
  if (flags.json === true) printJson(terminal, result);
  else {
    const lost =
      result.goneSectors === 0
        ? ''
        : `; ${result.goneSectors} sectors are gone, "dm-remap message ${name} 0 lost" lists them`;
    terminal.print(`${name}: ${path} is no spare any more${lost}`);
  }
}

async function served(name: string): Promise<ControlClient> {
  const { client } = findDevice(name);
  const { spare } = await client.status();
  if (spare === null) throw new SetupError('refused', `${name}: is served without its spare`);
  return client;
}

function pathOf(device: string): string {
  return noPath.test(device) ? device : resolve(device);
}

/** How it ended, as the device words it. */
async function carriedOut(
  terminal: Terminal,
  client: ControlClient,
  name: string,
  words: readonly string[],
): Promise<string> {
  refuseWords(words);
  await client.message(0, words);
  try {
    for (;;) {
      const lines = (await client.message(0, ['spare'])).reply.split('\n');
      const saidOf = (word: string): string | undefined =>
        lines.find((line) => line.startsWith(`${word} `))?.slice(word.length + 1);
      if (saidOf('busy') === undefined) return saidOf('last-spare') ?? 'failed: the device does not say why';
      const [, done, all] = /^(\d+) of (\d+)$/.exec(saidOf('checking') ?? '') ?? [];
      if (all !== undefined)
        terminal.progress?.(`${name}: ${formatBytes(Number(done))} of ${formatBytes(Number(all))} checked`);
      else if (saidOf('moving') !== undefined)
        terminal.progress?.(`${name}: ${saidOf('moving')} blocks moved`);
      await sleep(askIntervalMs);
    }
  } finally {
    terminal.progress?.(undefined);
  }
}
