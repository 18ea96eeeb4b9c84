import { badRangesMax, type ListFormat, readBadRanges } from '../../../src/cli/bad-sectors/read-formats.ts';
import { parseBytes } from '../../../src/cli/text/byte-size.ts';
import { deviceNameLengthMax, invalidDeviceName } from '../../../src/device/process/device-name.ts';
import { SetupError } from '../../../src/device/setup-error.ts';
import { looksLikeNbdUri, parseNbdUri } from '../../../src/nbd/nbd-uri.ts';
import { type FuzzTarget, must, mustBeOneLine, textWords } from '../engine/fuzz-target.ts';

const deviceSectors = 1_000_000;
const formats: readonly (ListFormat | undefined)[] = [undefined, 'ddrescue', 'badblocks', 'json'];
const blockSizes = [512, 1024, 4096, 1 << 20] as const;

/** The first byte chooses format and block; the rest is the text. */
export const badSectorLists: FuzzTarget = {
  name: 'bad-sector-lists',
  what: 'lists of ddrescue, badblocks and JSON: ranges ascending, apart, inside the device, or a line that says why not',
  inputBytesMax: 4_096,
  executionsPerLook: 512,
  executionsInTests: 60_000,
  seeds: () => [
    Buffer.from('\0# Mapfile\n0x0 ? 1\n0x1000 0x200 -\n0x2000 512 *\n'),
    Buffer.from('\u00059\n10\n4000\n'),
    Buffer.from('\u0003{"entries":[{"sector":0,"sectorCount":8},{"sector":9,"sectorCount":1}]}'),
  ],
  words: textWords(
    ...['0x', '-', '*', '/', '+', '?', '\n', '#', '# Mapfile', '{', '}', '"entries":[', '"sector":', '512'],
    ...['"sectorCount":', '0xffffffffffffffff', '9007199254740991', '1e99', '-1', 'null', ']', ','],
  ),
  open: () => Promise.resolve({ run: (input) => Promise.resolve(readList(input)) }),
};

function readList(input: Buffer): void {
  const choice = input[0] ?? 0;
  const blockBytes = blockSizes[(choice >> 2) % blockSizes.length]!;
  const options = { path: 'list', format: formats[choice % formats.length], blockBytes, deviceSectors };
  try {
    let end = -1;
    const ranges = readBadRanges(input.toString('utf8', 1), options);
    must(ranges.length <= badRangesMax, 'more ranges than there may be');
    for (const { sector, sectorCount } of ranges) {
      must(Number.isSafeInteger(sector) && Number.isSafeInteger(sectorCount), 'a number that is none');
      must(sector > end && sectorCount > 0, 'ranges that touch, or out of order');
      end = sector + sectorCount;
    }
    must(end <= deviceSectors, 'a range behind the end of the device');
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    mustBeOneLine(error);
  }
}

export const wordsOfCommands: FuzzTarget = {
  name: 'command-words',
  what: 'sizes, names of devices and NBD URIs of a command line: a value in its bounds, or a refusal',
  inputBytesMax: 1_024,
  executionsPerLook: 512,
  executionsInTests: 60_000,
  seeds: () =>
    [
      '64MiB',
      '0',
      '16T',
      '512',
      'disk-1',
      'nbd://localhost:10809/disk',
      'nbd+unix:///a%20b?socket=/run/x',
      'nbd://[::1]/',
    ].map((text) => Buffer.from(text)),
  words: textWords(
    ...[
      'nbd:',
      'nbd+unix:',
      'nbds:',
      '//',
      '/',
      '?socket=',
      '&',
      '%',
      '%00',
      '%ff',
      '%zz',
      '[',
      ']',
      ':',
      '@',
      '#',
    ],
    ...['KiB', 'G', 'T', '..', '\0', '\n', '99999', '18446744073709551616'],
  ),
  open: () => Promise.resolve({ run: (input) => Promise.resolve(readWords(input.toString('utf8'))) }),
};

function readWords(text: string): void {
  const bytes = parseBytes(text);
  must(bytes === undefined || (Number.isSafeInteger(bytes) && bytes > 0), `${bytes} bytes`);
  if (invalidDeviceName(text) === undefined) {
    must(text.length > 0 && text.length <= deviceNameLengthMax, 'a name of a wrong length');
    must(!/[/\0\s]/.test(text) && text !== '.' && text !== '..', 'a name that is a path');
  }
  // As its callers do: whatever else is a path.
  if (!looksLikeNbdUri(text)) return;
  const address = parseNbdUri(text);
  if (typeof address === 'string') {
    must(!/[\n\r]/.test(address) || /[\n\r]/.test(text), 'a complaint of several lines');
    return;
  }
  const { place } = address;
  if (place.transport === 'unix') must(place.path !== '', 'no path');
  else must(place.host !== '' && place.port >= 0 && place.port <= 65_535, 'no host, or no port');
}
