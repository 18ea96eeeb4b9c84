import process from 'node:process';
import { printable } from '../../../src/cli/text/printable.ts';
import { identityDifference } from '../../../src/device/main/main-identity.ts';
import {
  identifyBlock,
  identityFromPairs,
  identityToPairs,
  sameIdentity,
} from '../../../src/io/disk-identity.ts';
import { findBlockUsers } from '../../../src/io/disk-usage.ts';
import { explainSignatures, findSignatures, type ReadAt } from '../../../src/io/signatures.ts';
import { addSataDisk, MachineDescription, vitalPage } from '../../io/machine-description.ts';
import { type FuzzSession, type FuzzTarget, must, textWords } from '../engine/fuzz-target.ts';

const separator = '\u0000\u0002';
const blockBytes = 4096;
const diskBytes = 4 << 20;
/** Blocks that are looked at for signatures: of the ends, of labels of ZFS, and of LUKS2 headers. */
const bytesReadMax = 2 << 20;
const placesMax = 40;
/** Of these the magic alone says what it is. */
const plainMagics: readonly (readonly [offset: number, magic: string])[] = [
  [512, 'EFI PART'],
  [0, 'XFSB'],
  [65_536 + 64, '_BHRfS_M'],
  [32_768, 'JFS1'],
  [0, 'hsqs'],
  [32, 'NXSB'],
  [4086, 'SWAPSPACE2'],
  [3, '-FVE-FS-'],
];
/** Where anything of any kind begins. */
const places: readonly number[] = [
  ...plainMagics.map(([offset]) => offset),
  ...[0, 24, 54, 82, 446, 510, 1024, 1080, 4096, 8192, 65_536, 131_072, diskBytes - 512, diskBytes - 4096],
  ...[diskBytes - 8192, diskBytes - 65_536, diskBytes - 262_144 + 131_072, 65_588, 32_769, 16_384],
];

/** Pieces: a place by its number, how many bytes, the bytes. The first two bytes of an input name blocks that cannot be read. */
export const diskSignatures: FuzzTarget = {
  name: 'disk-signatures',
  what: 'what is on a foreign disk: named in one line, never rejected; no read outside the disk; bytes that cannot be read and plain magics are never overlooked',
  inputBytesMax: 1_024,
  executionsPerLook: 32,
  executionsInTests: 800,
  seeds: () => [
    Buffer.of(255, 255),
    ...plainMagics.map(([, magic], index) =>
      Buffer.concat([Buffer.of(255, 255, index, magic.length), Buffer.from(magic)]),
    ),
    Buffer.concat([Buffer.of(255, 255, 15, 2, 0x53, 0xef), Buffer.of(14, 16), Buffer.alloc(16, 1)]),
    Buffer.concat([Buffer.of(255, 255, 12, 66), Buffer.alloc(64, 0x80), Buffer.of(0x55, 0xaa)]),
  ],
  words: textWords(
    ...plainMagics.map(([, magic]) => magic),
    'LABELONE',
    'LVM2 001',
    'LUKS\xba\xbe',
    'CD001',
    '\x1b[2J',
  ),
  open: () => Promise.resolve({ run: lookAtDisk }),
};

async function lookAtDisk(input: Buffer): Promise<void> {
  const bad = new Set([...input.subarray(0, 2)].filter((block) => block < 255));
  const pieces: { readonly offset: number; readonly bytes: Buffer }[] = [];
  for (let at = 2; at + 2 <= input.length && pieces.length < placesMax; ) {
    const [place, length] = [input[at]!, input[at + 1]!];
    const offset = places[place % places.length]!;
    pieces.push({ offset, bytes: input.subarray(at + 2, at + 2 + Math.min(length, diskBytes - offset)) });
    at += 2 + length;
  }
  let bytesRead = 0;
  const untold = new Set<number>();
  const readAt: ReadAt = (offset, length) => {
    must(offset >= 0 && length > 0 && offset + length <= diskBytes, `a read of ${length} bytes at ${offset}`);
    must(offset % blockBytes === 0 && length % blockBytes === 0, 'a read of parts of blocks');
    bytesRead += length;
    const blocks = Array.from({ length: length / blockBytes }, (_, index) => offset / blockBytes + index);
    if (blocks.some((block) => bad.has(block))) {
      if (blocks.length === 1) untold.add(blocks[0]!);
      return Promise.reject(new Error('EIO'));
    }
    return Promise.resolve(contentOf(pieces, offset, length));
  };
  const report = await findSignatures(readAt, diskBytes);
  must(bytesRead <= bytesReadMax, `${bytesRead} bytes were read`);
  for (const { offset, length } of report.unreadable) {
    for (let block = offset / blockBytes; block < (offset + length) / blockBytes; block += 1) {
      untold.delete(block);
    }
  }
  must(untold.size === 0, 'a block that cannot be read is not told');
  const all = contentOf(pieces, 0, 72 * 1024);
  const isPlain = plainMagics.some(
    ([offset, magic]) => all.toString('latin1', offset, offset + magic.length) === magic,
  );
  const text = explainSignatures(report);
  must(!isPlain || text !== '', 'a disk with a magic is called empty');
  must(report.unreadable.length === 0 || text !== '', 'a disk that cannot be read is called empty');
  must(!/\p{Cc}/u.test(text), `what a terminal obeys: ${JSON.stringify(text)}`);
}

function contentOf(
  pieces: readonly { readonly offset: number; readonly bytes: Buffer }[],
  start: number,
  length: number,
): Buffer {
  const content = Buffer.alloc(length);
  for (const { offset, bytes } of pieces) {
    const from = Math.max(offset, start);
    const to = Math.min(offset + bytes.length, start + length);
    if (to > from) content.set(bytes.subarray(from - offset, to - offset), from - start);
  }
  return content;
}

const files = [
  'sys/devices/bus/block/sda/device/model',
  'sys/devices/bus/block/sda/device/vpd_pg80',
  'sys/devices/bus/block/sda/device/wwid',
  'sys/devices/bus/block/sda/size',
  'sys/devices/bus/block/sda/queue/logical_block_size',
  'sys/devices/bus/block/sda/sda1/uevent',
  'udev/b8:0',
  'proc/self/mountinfo',
  'proc/swaps',
] as const;

/** Files of the kernel and of udev, one behind the other: what disks say of themselves, and what people name. */
export const diskDescriptions: FuzzTarget = {
  name: 'disk-descriptions',
  what: 'what kernel and udev say of disks: an identity that the superblock gives back as it was, users in one printable line each',
  inputBytesMax: 2_048,
  executionsPerLook: 16,
  executionsInTests: 400,
  seeds: () => [
    Buffer.from(
      [
        'WDC WD10EZEX-08W\n',
        Buffer.from(vitalPage('  WD-1')).toString('latin1'),
        'naa.50014ee2b1\n',
        '1953525168\n',
        '512\n',
        'MAJOR=8\nPARTUUID=0FC63DAF-0001\n',
        'S:disk/by-id/x\nE:ID_MODEL=A_B\nE:ID_SERIAL_SHORT=S1\nE:ID_WWN=0x5001\n',
        '36 25 8:1 / /mnt/a\\040b rw,noatime shared:1 - ext4 /dev/sda1 rw\n',
        'Filename\tType\n/dev/sda2 partition 1 0 -2\n',
      ].join(separator),
      'latin1',
    ),
  ],
  words: textWords(
    separator,
    'E:',
    'ID_SERIAL_SHORT=',
    'naa.',
    'PARTUUID=',
    '\\012',
    '\\000',
    ' - ',
    '8:1',
    '\x1b[2J',
    '-1',
    '1e99',
  ),
  open: () => Promise.resolve(new DescriptionSession()),
};

class DescriptionSession implements FuzzSession {
  readonly #machine = new MachineDescription();

  constructor() {
    addSataDisk(this.#machine);
    // After a finding nobody closes a session.
    process.once('exit', () => this.#machine[Symbol.dispose]());
  }

  async run(input: Buffer): Promise<void> {
    const parts = input.toString('latin1').split(separator);
    for (const [index, file] of files.entries()) {
      this.#machine.write(file, Buffer.from(parts[index] ?? '', 'latin1'));
    }
    for (const [path, number] of [
      ['/dev/sda', '8:0'],
      ['/dev/sda1', '8:1'],
    ] as const) {
      const identity = await identifyBlock(path, number, this.#machine);
      const numbers = [identity.sizeBytes, identity.logicalBlockBytes, identity.partitionStartBytes];
      must(
        numbers.every((each) => typeof each === 'number' && !Number.isNaN(each)),
        'a number that is none',
      );
      must((identity.strength === 'strong') === (identity.wwn + identity.serial !== ''), 'a wrong strength');
      const pairs = identityToPairs(identity);
      const again = identityFromPairs(pairs);
      must(
        again.wwn === identity.wwn && again.serial === identity.serial,
        'an identity is another when kept',
      );
      const { verdict } = sameIdentity(again, identity);
      must(
        verdict !== 'different',
        `a disk is another than itself: ${sameIdentity(again, identity).reasons.join()}`,
      );
      const disk = { access: 'direct', identity, path } as const;
      must(identityDifference(pairs, disk) === undefined, 'a disk is refused in its own place');
      for (const { text } of await findBlockUsers(path, number, this.#machine)) {
        must(!/[^\P{Cc}\n\t]/u.test(printable(text)), 'what a terminal obeys');
      }
    }
  }

  close(): Promise<void> {
    return Promise.resolve(this.#machine[Symbol.dispose]());
  }
}
