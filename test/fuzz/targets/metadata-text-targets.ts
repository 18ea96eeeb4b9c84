import { crc32c } from '@node-rs/crc32';
import { PagedArena } from '../../../src/block/buffer-arena.ts';
import { MemoryDevice } from '../../../src/block/memory-device.ts';
import { RecordedState } from '../../../src/device/host/recorded-state.ts';
import { decodeDump, encodeDump } from '../../../src/metadata/metadata-dump.ts';
import { MetadataError, MetadataStore } from '../../../src/metadata/metadata-store.ts';
import { restoreMetadata } from '../../../src/metadata/restore-metadata.ts';
import { decodeTableCopy, TableCopyEncoder, tableCopyEntriesMax } from '../../../src/metadata/table-copy.ts';
import { SeededRandom } from '../../../src/simulator/seeded-random.ts';
import { VirtualClock } from '../../../src/simulator/virtual-clock.ts';
import { tableOf } from '../../metadata/metadata-fixture.ts';
import { expecting, type FuzzSession, type FuzzTarget, must, textWords } from '../engine/fuzz-target.ts';
import { blockBytes, readSpareImages, type SpareImage } from './spare-image.ts';
import { mustBeInside, WatchedSpare } from './spare-session.ts';

const closedImage = 0;
const restoresMax = 2 ** 20;
const entriesLoadedMax = 100_000;

function dumpOf(image: SpareImage): Buffer {
  const { offset } = image.superblocks[0]!;
  const block = image.bytes.subarray(offset, offset + blockBytes);
  return Buffer.from(encodeDump(block, 1, image.records.slice(0, 12), ['a remark']));
}

/** The first byte: odd numbers get the checksum that the text must have. */
export const metadataDumps: FuzzTarget = {
  name: 'metadata-dump',
  what: 'dumps of metadata: restored so that opening gives just its records, or refused in one clause with nothing written',
  inputBytesMax: 6_144,
  executionsPerLook: 8,
  executionsInTests: 2_500,
  seeds: () =>
    readSpareImages().flatMap((image) => [0, 1].map((how) => Buffer.concat([Buffer.of(how), dumpOf(image)]))),
  words: textWords(
    ...[
      'granules ',
      'retired ',
      'fresh-ended ',
      'sequence ',
      'superblock ',
      'end ',
      '\n',
      ' - ',
      ' 0',
      ' ff',
      ' 9007199254740991',
    ],
    ...[
      'granules 0 1 300 ff 0 0 0 1 0\n',
      'retired 340 2\n',
      'fresh-ended 0 1\n',
      'granules 0 9007199254740991 - 0 1 0 0 1 0\n',
    ],
    ...['retired 0 9007199254740991\n', 'fresh-ended 0 4294967296\n', ' 1e15', ' 0x10', ' -1', ' NaN'],
  ),
  open: () => Promise.resolve(new DumpSession()),
};

class DumpSession implements FuzzSession {
  readonly #images = readSpareImages();

  async run(input: Buffer): Promise<void> {
    const text =
      (input[0] ?? 0) % 2 === 1 ? resealed(input.toString('latin1', 1)) : input.toString('latin1', 1);
    const dump = decodeDump(text);
    if (typeof dump === 'string') {
      must(dump !== '' && !dump.includes('\n'), 'a complaint that is no line');
      return;
    }
    const image = this.#images[closedImage]!;
    const disk = new MemoryDevice({
      name: 'spare',
      sizeBytes: image.bytes.length,
      physicalBlockBytes: blockBytes,
    });
    disk.bytes.set(image.bytes);
    const clock = new VirtualClock(new SeededRandom('clock'), { eventsMax: 20_000 });
    const memory = new ArrayBuffer(1 << 20);
    const arena = new PagedArena(memory, { remapBytes: 4096, metadataBytes: 128 << 10, poison: true });
    const spare = new WatchedSpare(disk);
    const parts = { spare, arena, clock, random: new SeededRandom('process') };
    const state = new RecordedState(dump.records);
    must(state.recordCountMax() <= restoresMax, 'a state larger than any spare');
    let mayWrite = false;
    const restoring = restoreMetadata(parts, dump, state, {
      force: true,
      taker: { host: undefined, takeover: false },
      beforeWriting: () => {
        mayWrite = true;
        return Promise.resolve();
      },
    });
    const restored = await expecting(clock.run(restoring), (error) => error instanceof MetadataError);
    must(mayWrite || spare.written.length === 0, 'a refused dump was written');
    if (restored === undefined) return;
    const opened = await clock.run(MetadataStore.open(parts));
    mustBeInside(spare.written, opened.layout);
    const is = JSON.stringify(tableOf(opened.records).contents());
    must(is === JSON.stringify(tableOf(dump.records).contents()), 'restored other records than the dump has');
  }
}

function resealed(text: string): string {
  const body = text.replace(/end [0-9a-f]*\n?$/, '');
  return `${body}end ${crc32c(body).toString(16).padStart(8, '0')}\n`;
}

/** The first byte: odd numbers get the checksums that the pieces must have. */
export const tableCopies: FuzzTarget = {
  name: 'table-copy',
  what: 'the host’s copy of a table: its records, all of them possible, or one clause about why not',
  inputBytesMax: 4_096,
  executionsPerLook: 128,
  executionsInTests: 20_000,
  seeds: () =>
    readSpareImages().flatMap((image) =>
      [0, 1].map((how) =>
        Buffer.concat([Buffer.of(how), copyOf(image, image.layout.mainSizeBytes >> (13 * how))]),
      ),
    ),
  words: [
    ...textWords(
      'dmRMtabl',
      '"granuleBytes":4096',
      '"mainSizeBytes":',
      '"format":1',
      '9007199254740991',
      'null',
      '{}',
    ),
    Buffer.of(1, 0, 2, 1, 0, 0, 0, 0, 0),
    Buffer.of(2, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f),
    Buffer.of(3, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f),
  ],
  open: () => Promise.resolve({ run: (input) => Promise.resolve(readCopy(input)) }),
};

/** With a main that is too small for its records they are outside of it. */
function copyOf({ records, layout }: SpareImage, mainSizeBytes: number): Buffer {
  const encoder = new TableCopyEncoder();
  const header = {
    format: 1,
    uuid: '6f1c3b52-6a5e-4b4e-9d9b-0d6f6a5b7c11',
    name: 'disk',
    mainSizeBytes,
    logicalBlockBytes: 512,
    granuleBytes: layout.granuleBytes,
    mainIdentity: { serial: 'a' },
    spareIdentity: {},
    sequence: 1,
    sessionNonce: '00',
    complete: true,
    writtenUnixSeconds: 1_767_225_600,
  } as const;
  const some = records.slice(0, 40);
  const middle = some.length === 0 ? [] : [encoder.records(some)];
  return Buffer.concat([encoder.begin(header), ...middle, encoder.end()]);
}

function readCopy(input: Buffer): void {
  const bytes = Buffer.from(input.subarray(1));
  if ((input[0] ?? 0) % 2 === 1) resealPieces(bytes);
  const copy = decodeTableCopy(bytes);
  if (typeof copy === 'string') {
    must(copy !== '' && !copy.includes('\n'), 'a complaint that is no line');
    return;
  }
  const { header, records } = copy;
  const granules = Math.ceil(header.mainSizeBytes / header.granuleBytes);
  for (const record of records) {
    if (record.type !== 'granules') continue;
    must(record.granule >= 0 && record.granule + record.granuleCount <= granules, 'a granule outside main');
    must(
      Number.isSafeInteger(record.slot) && Number.isSafeInteger(record.unixSeconds),
      'a number that is none',
    );
  }
  const entries = records.reduce((sum, record) => {
    if (record.type === 'granules') return sum + record.granuleCount;
    return sum + (record.type === 'retired-slots' ? record.slotCount : record.regionCount);
  }, 0);
  must(entries <= tableCopyEntriesMax, `${entries} entries`);
  // As opening without the spare does; what may be takes seconds.
  if (entries <= entriesLoadedMax) new RecordedState(records);
}

function resealPieces(bytes: Buffer): void {
  for (let at = 8; at + 8 <= bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    const end = at + 8 + length;
    if (end > bytes.length) return;
    bytes.writeUInt32LE(length === 0 ? 0 : crc32c(bytes.subarray(at + 8, end)), at + 4);
    at = end;
  }
}
