import { join } from 'node:path';
import process from 'node:process';
import { ControlClient } from '../src/control/client.ts';
import { RecordedState } from '../src/device/host/recorded-state.ts';
import { closeSession, withOpenSpare } from '../src/device/stack/open-spare.ts';
import { type GranuleRecord, StateCause, StateFlags } from '../src/metadata/mapping-state.ts';
import { runCommand } from './command.ts';
import type { Contestant } from './contestant.ts';
import { programPath } from './program-path.ts';
import { BenchRefusal } from './tools.ts';

const sectorBytes = 512;

/** Which blocks of the device are moved, and where they lie. */
export interface Remaps {
  readonly count: number;
  /** `spread`: evenly over the image, so that a part of the work meets them. `behind`: all behind the image, met by none of it. */
  readonly place: 'spread' | 'behind';
}

export interface RemappedDeviceOptions {
  readonly name: string;
  readonly folder: string;
  readonly mainPath: string;
  /** The part of main that is worked on. */
  readonly imageBytes: number;
  readonly cache: 'writeback' | 'none';
  readonly remaps: Remaps;
}

/** The device under test, as an operator makes it, with its remaps. */
export async function startRemappedDevice(options: RemappedDeviceOptions): Promise<Contestant> {
  const { name, folder, mainPath, cache, remaps } = options;
  const stateDirectory = join(folder, 'state');
  const environment = {
    ...process.env,
    DM_REMAP_RUNTIME_DIR: join(folder, 'run'),
    DM_REMAP_STATE_DIR: stateDirectory,
  };
  const runCli = async (...words: string[]): Promise<void> => {
    await runCommand(process.execPath, [programPath(), ...words], { environment });
  };
  const sparePath = join(folder, `${name}.spare`);
  const spare = ['--spare', sparePath, '--create-spare', `${spareMebibytes(remaps.count)}M`];
  await runCli('create', name, '--main', mainPath, ...spare, '--cache', cache);
  try {
    const deviceFolder = join(folder, 'run', name);
    const client = new ControlClient(join(deviceFolder, 'control.sock'));
    if (remaps.place === 'spread') {
      await spreadRemaps(client, options);
    } else if (remaps.count > 0) {
      const { granuleBytes } = (await client.status()).remap;
      await runCli('remove', name);
      await recordRemapsBehind(sparePath, stateDirectory, options, granuleBytes);
      await runCli('assemble', name, '--spare', sparePath, '--main', mainPath, '--cache', cache);
    }
    const { pid, remap } = await client.status();
    if (remap.remappedGranules !== remaps.count) {
      throw new BenchRefusal(`asked for ${remaps.count} remaps, the device has ${remap.remappedGranules}`);
    }
    return {
      name: labelOf(options),
      target: { kind: 'nbd', uri: `nbd+unix:///?socket=${join(deviceFolder, 'nbd.sock')}` },
      pid,
      servesImage: true,
      stop: () => runCli('remove', name),
    };
  } catch (error) {
    await runCli('remove', name, '--force').catch(() => undefined);
    throw error;
  }
}

function labelOf({ cache, remaps, imageBytes }: RemappedDeviceOptions): string {
  const count = remaps.count.toLocaleString('en').replaceAll(',', ' ');
  const shareText = `${((remaps.count * pageBytes * 100) / imageBytes).toFixed(1)} % of the work`;
  const where = remaps.count === 0 ? '' : remaps.place === 'behind' ? ' elsewhere' : `, ${shareText}`;
  return `dm-remap${cache === 'none' ? ' O_DIRECT' : ''}, ${count} remaps${where}`;
}

/** What moves, on a disk of 4 KiB blocks. */
const pageBytes = 4096;

/** Room for the blocks, for three copies of the table of as many (M18), and to spare. */
function spareMebibytes(remapCount: number): number {
  return 64 + Math.ceil((remapCount * 5) / 1024);
}

async function spreadRemaps(client: ControlClient, options: RemappedDeviceOptions): Promise<void> {
  const { imageBytes, remaps } = options;
  const stepSectors = Math.floor(imageBytes / sectorBytes / remaps.count);
  for (let index = 0; index < remaps.count; index += 1) {
    await client.message(0, ['remap', String(index * stepSectors)]);
  }
}

/**
 * Writes the table of remaps into the spare of a device that is not served: nobody reads these blocks, so nothing has to be
 * moved. Each second block, so that no two records become one.
 */
async function recordRemapsBehind(
  path: string,
  stateDirectory: string,
  { imageBytes, remaps }: RemappedDeviceOptions,
  granuleBytes: number,
): Promise<void> {
  await withOpenSpare({ path, stateDirectory, force: false, takeover: false }, async (open) => {
    const slots = slotsOf(open.metadata.layout, granuleBytes);
    const first = imageBytes / granuleBytes;
    const records: GranuleRecord[] = [];
    for (let index = 0; index < remaps.count; index += 1) {
      const slot = slots.next();
      if (slot.done === true) throw new BenchRefusal(`${path}: has no room for ${remaps.count} remaps`);
      records.push({
        type: 'granules',
        granule: first + index * 2,
        granuleCount: 1,
        slot: slot.value,
        held: 2 ** (granuleBytes / sectorBytes) - 1,
        unreadable: 0,
        gone: 0,
        flags: StateFlags.none,
        cause: StateCause.operator,
        unixSeconds: Math.floor(Date.now() / 1000),
      });
    }
    await open.metadata.store.settle(new RecordedState(records));
    await closeSession(open);
  });
}

interface Reserved {
  reservedRanges(): readonly { readonly offset: number; readonly length: number }[];
}

/** Every slot of a spare, ascending. */
function* slotsOf(
  layout: Reserved & { readonly spareSizeBytes: number },
  granuleBytes: number,
): Generator<number> {
  let at = 0;
  const end = { offset: layout.spareSizeBytes - (layout.spareSizeBytes % granuleBytes), length: 0 };
  for (const { offset, length } of [...layout.reservedRanges(), end]) {
    for (; at < offset; at += granuleBytes) yield at / granuleBytes;
    at = offset + length;
  }
}
