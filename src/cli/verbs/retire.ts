import type { ControlClient } from '../../control/client.ts';
import { stateDirectory } from '../../device/host/state-directory.ts';
import { SetupError } from '../../device/setup-error.ts';
import { wipeSpare } from '../../device/spare/wipe-spare.ts';
import { findDevice } from '../find-device.ts';
import { printJson, type Terminal } from '../terminal.ts';
import { runRemove } from './remove.ts';

/**
 * Each reply either finishes, stops, or says where to go on, always further on; more than a table has granules would be a
 * bug of ours.
 */
const repliesMax = 1_000_000;

/**
 * `retire NAME`: all data goes home to main. When the table is empty the spare is of no more use: with `--yes` the device is
 * removed and the spare wiped, unless something was moved again meanwhile.
 */
export async function runRetire(
  terminal: Terminal,
  name: string,
  options: { readonly yes?: boolean; readonly json?: boolean },
): Promise<void> {
  const { client } = findDevice(name);
  const { spare } = await client.status();
  if (spare === null)
    throw new SetupError('refused', `${name}: without its spare nothing can be brought home`);
  const said = await retire(client, (sector) => terminal.progress?.(`${name}: at sector ${sector}`));
  terminal.progress?.(undefined);
  const { remap } = await client.status();
  const left = remap.remappedGranules + remap.unreadableSectors + remap.freshZeroSectors + remap.goneSectors;
  if (left > 0) {
    const stay = `${remap.remappedSectors} sectors stay on the spare, ${remap.unreadableSectors + remap.goneSectors} are lost`;
    throw new SetupError('failed', `${name}: not all could be brought home: ${stay}; ${said.join('; ')}`);
  }
  if (options.yes === true) {
    const others = await otherSpares(client);
    await runRemove(silent(terminal), name, {});
    const wiping = {
      path: spare.path,
      confirmed: true,
      onlyEmpty: true,
      takeover: false,
      stateDirectory: stateDirectory(),
    };
    await wipeSpare(wiping);
    // Without their home they carry nothing that anybody could read.
    for (const path of others) await wipeSpare({ ...wiping, path, onlyEmpty: false });
  }
  if (options.json === true) {
    printJson(terminal, { name, replies: said, spare: spare.path, wiped: options.yes === true });
    return;
  }
  const next =
    options.yes === true
      ? `${spare.path}: wiped, an ordinary disk again`
      : `to free the spare: dm-remap remove ${name} && dm-remap wipe ${spare.path} --yes`;
  terminal.print([...said, next].join('\n'));
}

/** Only complaints: what the whole command did is printed once. */
function silent(terminal: Terminal): Terminal {
  return { print: () => undefined, warn: (line) => terminal.warn(line) };
}

/** Paths of the spares beside the one with the table; not of those that are not there. */
async function otherSpares(client: ControlClient): Promise<readonly string[]> {
  const { reply } = await client.message(0, ['spare']);
  const found = reply.matchAll(/^one spare-\d+ \S+ \d+ \d+ \d+ \d+ (\d+) (.*)$/gm);
  return [...found].flatMap(([, sizeBytes, path = '']) => (sizeBytes === '0' ? [] : [path]));
}

/** The replies, without the places where to go on. */
async function retire(
  client: ControlClient,
  onProgress: (sector: string) => void,
): Promise<readonly string[]> {
  let words = ['retire'];
  for (let replies = 0; replies < repliesMax; replies += 1) {
    const lines = (await client.message(0, words)).reply.split('\n');
    const next = lines.find((line) => line.startsWith('next '));
    const stopped = lines.some((line) => line.startsWith('stopped: '));
    if (next === undefined || stopped) return lines.filter((line) => line !== next);
    words = ['retire', ...next.split(' ').slice(1)];
    onProgress(words[1] ?? '');
  }
  throw new SetupError('failed', 'the device never comes to the end of its table');
}
