import { sectorBytes } from '../../block/block-device.ts';
import type { ControlClient } from '../../control/client.ts';
import { SetupError } from '../../device/setup-error.ts';
import { readTextInput } from '../../device/text-input.ts';
import { blockSize } from '../bad-sectors/list-flags.ts';
import { type BadRange, type ListFormat, readBadRanges } from '../bad-sectors/read-formats.ts';
import { findDevice } from '../find-device.ts';
import { printJson, type Terminal } from '../terminal.ts';

export interface ImportFlags {
  readonly format?: string;
  readonly blockBytes: string;
  readonly json?: boolean;
}

const formats: readonly ListFormat[] = ['ddrescue', 'badblocks', 'json'];

/** Bytes of a list: a mapfile of a disk with a bad sector in every track is smaller. */
const listBytesMax = 64 * 1_048_576;

/** A range that does not come to its end within so many replies never would. */
const repliesMax = 1_000_000;

/** `import NAME FILE`: sectors that another tool found bad become suspects (R34): main is asked for them once. */
export async function runImport(
  terminal: Terminal,
  name: string,
  path: string,
  flags: ImportFlags,
): Promise<void> {
  const format = formats.find((known) => known === flags.format);
  if (flags.format !== undefined && format === undefined) {
    throw new SetupError('usage', `--format ${flags.format}: expected one of ${formats.join(', ')}`);
  }
  const blockBytes = blockSize(flags.blockBytes);
  const { client } = findDevice(name);
  const status = await client.status();
  if (status.spare === null)
    throw new SetupError('refused', `${name}: without its spare nothing can be noted`);
  const deviceSectors = status.sizeBytes / sectorBytes;
  const ranges = readBadRanges(readTextInput(path, listBytesMax, 'a list of bad sectors'), {
    path,
    format,
    blockBytes,
    deviceSectors,
  });
  const counts = { suspect: 0, known: 0 };
  for (const [at, range] of ranges.entries()) {
    terminal.progress?.(`${name}: ${at} of ${ranges.length} ranges`);
    await importRange(client, name, range, counts);
  }
  terminal.progress?.(undefined);
  if (flags.json === true) printJson(terminal, { name, ranges: ranges.length, ...sectorsOf(counts) });
  else {
    terminal.print(
      `${name}: ${counts.suspect} sectors are suspect from now on, ${counts.known} were known, in ${ranges.length} ranges`,
    );
  }
}

interface Counts {
  suspect: number;
  known: number;
}

function sectorsOf({ suspect, known }: Counts): { suspectSectors: number; knownSectors: number } {
  return { suspectSectors: suspect, knownSectors: known };
}

async function importRange(
  client: ControlClient,
  name: string,
  { sector, sectorCount }: BadRange,
  counts: Counts,
): Promise<void> {
  let words = [String(sector), String(sectorCount)];
  for (let replies = 0; replies < repliesMax; replies += 1) {
    const lines = (await client.message(0, ['import', 'suspect', ...words])).reply.split('\n');
    const [, suspect = '0', known = '0'] = /^import: suspect (\d+), known (\d+)$/.exec(lines[0]!) ?? [];
    counts.suspect += Number(suspect);
    counts.known += Number(known);
    const stopped = lines.find((line) => line.startsWith('stopped: '));
    if (stopped !== undefined) {
      const done = `${counts.suspect} sectors were noted; the rest can be imported again`;
      throw new SetupError('failed', `${name}: ${stopped} at sector ${words[0]}; ${done}`);
    }
    const next = lines.find((line) => line.startsWith('next '));
    if (next === undefined) return;
    words = next.split(' ').slice(1);
  }
  throw new SetupError('failed', `${name}: the device never comes to the end of the range`);
}
