import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  explainSignatures,
  findSignatures,
  type ReadAt,
  type SignatureReport,
} from '../../src/io/signatures.ts';

const kib = 1024;
const mib = 1024 * kib;
const diskBytes = 8 * mib;

type Piece = readonly [offset: number, bytes: Uint8Array | string];

function bytesOf(piece: Uint8Array | string): Uint8Array {
  return typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece;
}

function hex(text: string): Uint8Array {
  return Buffer.from(text.replaceAll(' ', ''), 'hex');
}

/** A disk of zeros with pieces on it; negative offsets count from the end. */
function disk(pieces: readonly Piece[], sizeBytes = diskBytes): Uint8Array {
  const image = new Uint8Array(sizeBytes);
  for (const [offset, piece] of pieces) image.set(bytesOf(piece), offset < 0 ? sizeBytes + offset : offset);
  return image;
}

function reader(image: Uint8Array, isBad: (offset: number) => boolean = () => false): ReadAt {
  return (offset, length) => {
    assert.ok(
      offset % 4096 === 0 && (length % 4096 === 0 || offset + length === image.length),
      'aligned reads',
    );
    assert.ok(offset >= 0 && length > 0 && offset + length <= image.length, 'reads inside of the disk');
    for (let block = offset; block < offset + length; block += 4096) {
      if (isBad(block)) return Promise.reject(new Error(`bad block at ${block}`));
    }
    return Promise.resolve(image.subarray(offset, offset + length));
  };
}

function inspect(image: Uint8Array): Promise<SignatureReport> {
  return findSignatures(reader(image), image.length);
}

const bootSector: readonly Piece[] = [
  [0, hex('eb3c90')],
  [11, hex('0002 08 0100 02')],
  [510, hex('55aa')],
];
const partition = hex('80 010100 83 feffff 00080000 00100000');

const constructed: readonly (readonly [text: string, pieces: readonly Piece[]])[] = [
  ['GPT partition table', [[512, 'EFI PART']]],
  ['GPT partition table', [[4096, 'EFI PART']]],
  ['GPT partition table (its backup at the end)', [[-512, 'EFI PART']]],
  ['GPT partition table (its backup at the end)', [[-4096, 'EFI PART']]],
  [
    'MBR partition table with 1 partition',
    [
      [446, partition],
      [510, hex('55aa')],
    ],
  ],
  [
    'MBR partition table with 2 partitions',
    [
      [446, partition],
      [478, partition],
      [510, hex('55aa')],
    ],
  ],
  [
    'protective MBR of a GPT partition table',
    [
      [446, hex('00 000200 ee ffffff 01000000 ff3f0000')],
      [510, hex('55aa')],
    ],
  ],
  [
    'xfs file system, label data',
    [
      [0, 'XFSB'],
      [108, 'data'],
    ],
  ],
  [
    'btrfs file system, label data',
    [
      [65536 + 64, '_BHRfS_M'],
      [65536 + 0x12b, 'data'],
    ],
  ],
  ['bcachefs file system', [[4120, hex('c68573f6 66ce90a9 d96a60cf 803df7ef')]]],
  [
    'f2fs file system, label data',
    [
      [1024, hex('1020f5f2')],
      [1024 + 0x7c, hex('6400 6100 7400 6100')],
    ],
  ],
  ['f2fs file system', [[5120, hex('1020f5f2')]]],
  [
    'nilfs2 file system, label data',
    [
      [1024, hex('02000000 0000 3434 1801')],
      [1024 + 168, 'data'],
    ],
  ],
  [
    'jfs file system, label data',
    [
      [32768, 'JFS1'],
      [32768 + 152, 'data'],
    ],
  ],
  ['reiserfs file system', [[65536 + 52, 'ReIsEr2Fs']]],
  ['reiser4 file system', [[65536, 'ReIsEr4']]],
  ['ntfs file system', [...bootSector, [3, 'NTFS    ']]],
  ['exfat file system', [...bootSector, [3, 'EXFAT   ']]],
  ['vfat file system, label DATA', [...bootSector, [82, 'FAT32   '], [71, 'DATA       ']]],
  ['vfat file system', [...bootSector, [54, 'FAT16   ']]],
  [
    'iso9660 file system, label DEBIAN',
    [
      [32769, 'CD001'],
      [32768 + 40, 'DEBIAN  '],
    ],
  ],
  [
    'udf file system',
    [
      [32769, 'BEA01'],
      [34817, 'NSR02'],
    ],
  ],
  ['squashfs file system', [[0, 'hsqs']]],
  [
    'erofs file system, label data',
    [
      [1024, hex('e2e1f5e0')],
      [1088, 'data'],
    ],
  ],
  ['hfs+ file system', [[1024, hex('482b0004')]]],
  ['apfs file system', [[32, 'NXSB']]],
  ['ocfs2 file system', [[8192, 'OCFSV2']]],
  ['gfs2 file system', [[65536, hex('01161970')]]],
  ['vmfs file system', [[mib, hex('0df001c0')]]],
  ['zfs pool member', [[128 * kib + 7 * kib, hex('0cb1ba00 00000000')]]],
  ['zfs pool member', [[-256 * kib + 128 * kib, hex('0cb1ba00 00000000')]]],
  ['zfs pool member', [[-512 * kib + 255 * kib, hex('00000000 00bab10c')]]],
  ['LUKS1 encrypted volume', [[0, hex('4c554b53 babe 0001')]]],
  [
    'LUKS2 encrypted volume, label data',
    [
      [0, hex('4c554b53 babe 0002')],
      [24, 'data'],
    ],
  ],
  ['LUKS2 encrypted volume (second header)', [[16 * kib, hex('534b554c babe 0002')]]],
  ['LUKS2 encrypted volume (second header)', [[4 * mib, hex('534b554c babe 0002')]]],
  ['BitLocker encrypted volume', [[3, '-FVE-FS-']]],
  [
    'LVM2 physical volume',
    [
      [512, 'LABELONE'],
      [536, 'LVM2 001'],
    ],
  ],
  ['Linux RAID member (md 0.90)', [[-64 * kib, hex('fc4e2ba9 00000000 5a000000')]]],
  ['Linux RAID member (md 0.90)', [[-64 * kib, hex('a92b4efc 00000000 0000005a')]]],
  [
    'Linux RAID member (md 1.0), label box:0',
    [
      [-8 * kib, hex('fc4e2ba9 01000000')],
      [-8 * kib + 32, 'box:0'],
    ],
  ],
  ['Linux RAID member (md 1.1)', [[0, hex('fc4e2ba9 01000000')]]],
  [
    'Linux RAID member (md 1.2), label box:0',
    [
      [4096, hex('fc4e2ba9 01000000')],
      [4128, 'box:0'],
    ],
  ],
  ['Intel RAID member', [[-1024, 'Intel Raid ISM Cfg Sig. 1.0']]],
  ['DDF RAID member', [[-512, hex('de11de11')]]],
  ['DRBD member', [[-4096 + 60, hex('8374026d')]]],
  ['dm-integrity volume', [[0, 'integrt\0']]],
  ['dm-verity hash volume', [[0, 'verity\0\0']]],
  ['VDO volume', [[0, 'dmvdo001']]],
  ['Ceph BlueStore volume', [[0, 'bluestore block device\n']]],
  ['bcache', [[4120, hex('c68573f6 4e1a45ca 8265f57f 48ba6d81')]]],
  ['dm-cache metadata', [[32, hex('03c41800 00000000')]]],
  ['dm-thin metadata', [[32, hex('ba529c01 00000000')]]],
  [
    'swap, label data',
    [
      [4086, 'SWAPSPACE2'],
      [1024 + 28, 'data'],
    ],
  ],
  ['swap', [[65526, 'SWAPSPACE2']]],
  ['swap (a suspended system)', [[4086, 'S1SUSPEND']]],
];

describe('M17 a signature made of its bytes alone is found', () => {
  for (const [text, pieces] of constructed) {
    test(`${text}, at ${pieces[0]?.[0]}`, async () => {
      assert.equal(explainSignatures(await inspect(disk(pieces))), text);
    });
  }

  test('also on a disk with a ragged end', async () => {
    const image = disk([[-512, 'EFI PART']], diskBytes + 512);
    assert.equal(explainSignatures(await inspect(image)), 'GPT partition table (its backup at the end)');
  });

  test('all of several', async () => {
    const image = disk([
      [4096, hex('fc4e2ba9 01000000')],
      [65536 + 64, '_BHRfS_M'],
    ]);
    assert.equal(explainSignatures(await inspect(image)), 'btrfs file system; Linux RAID member (md 1.2)');
  });

  test('our own, at every place it may stand', async () => {
    const own = [{ name: 'dm-remap spare', magic: bytesOf('dmRMsupr'), offsets: [65536, 4 * mib] }];
    for (const offset of [65536, 4 * mib]) {
      const image = disk([[offset, 'dmRMsupr']]);
      const report = await findSignatures(reader(image), image.length, own);
      assert.deepEqual(report.signatures, [{ name: 'dm-remap spare', usage: 'dm-remap', offset, label: '' }]);
    }
  });
});

describe('M17 nothing is found where nothing is', () => {
  const noise = new Uint8Array(diskBytes);
  for (let at = 0, state = 1; at < noise.length; at += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    noise[at] = state >>> 24;
  }
  const empty: readonly (readonly [title: string, image: Uint8Array])[] = [
    ['on zeros', new Uint8Array(diskBytes)],
    ['on ones', new Uint8Array(diskBytes).fill(0xff)],
    ['on noise', noise],
    ['on a disk smaller than every place', new Uint8Array(512)],
    [
      'on a boot loader without partitions',
      disk([
        [0, hex('eb63')],
        [510, hex('55aa')],
      ]),
    ],
    [
      'where a magic of two bytes stands alone',
      disk([
        [1080, hex('53ef')],
        [1030, hex('3434')],
      ]),
    ],
    ['in a text that names FAT', disk([[54, 'FAT16   ']])],
    ['where LVM2 has only its first label', disk([[512, 'LABELONE']])],
  ];
  for (const [title, image] of empty) {
    test(title, async () => {
      assert.deepEqual(await inspect(image), { signatures: [], unreadable: [] });
    });
  }
});

test('M17 no contents and no size make the search fail, or read outside of the disk', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 2048 }),
      fc.array(fc.tuple(fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 64 })), { maxLength: 20 }),
      fc.array(fc.nat(2048 * 512)),
      async (sectorCount, pieces, bad) => {
        const image = new Uint8Array(sectorCount * 512);
        for (const [place, bytes] of pieces) {
          const offset = place % image.length;
          image.set(bytes.subarray(0, image.length - offset), offset);
        }
        const isBad = (offset: number): boolean =>
          bad.some((place) => Math.floor(place / 4096) * 4096 === offset);
        const report = await findSignatures(reader(image, isBad), image.length);
        for (const { offset, length } of report.unreadable) {
          assert.ok(length > 0 && offset + length <= image.length);
          for (let block = offset; block < offset + length; block += 4096) assert.ok(isBad(block));
        }
      },
    ),
    { numRuns: 60 },
  );
});

describe('M17 what cannot be read', () => {
  test('is reported, and is not taken for empty', async () => {
    const image = disk([]);
    const report = await findSignatures(
      reader(image, (offset) => offset === 65536),
      image.length,
    );
    assert.deepEqual(report, { signatures: [], unreadable: [{ offset: 65536, length: 4096 }] });
    assert.equal(explainSignatures(report), 'unreadable region at byte 65536, length 4096');
  });

  test('does not hide what its neighbours show', async () => {
    const image = disk([[4120, hex('c68573f6 4e1a45ca 8265f57f 48ba6d81')]]);
    const report = await findSignatures(
      reader(image, (offset) => offset === 0 || offset === 8192),
      image.length,
    );
    assert.match(explainSignatures(report), /^bcache; unreadable region at byte 0, length 4096 and 1 more$/);
  });

  test('makes one region of neighbouring blocks', async () => {
    const report = await findSignatures(
      reader(disk([]), () => true),
      diskBytes,
    );
    assert.deepEqual(report.signatures, []);
    assert.ok(report.unreadable.length < 20, `${report.unreadable.length} regions`);
    assert.deepEqual(report.unreadable[0]?.offset, 0);
  });

  test('is outside of the places: a bad sector elsewhere is not even met', async () => {
    const image = disk([]);
    const report = await findSignatures(
      reader(image, (offset) => offset === 3 * mib),
      image.length,
    );
    assert.deepEqual(report, { signatures: [], unreadable: [] });
  });

  test('a large disk costs few reads', async () => {
    let reads = 0;
    let bytes = 0;
    const count: ReadAt = (_, length) => {
      reads += 1;
      bytes += length;
      return Promise.resolve(new Uint8Array(length));
    };
    await findSignatures(count, 16 * 1024 * 1024 * mib);
    assert.ok(reads < 40 && bytes < 2 * mib, `${reads} reads, ${bytes} bytes`);
  });

  test('a label cannot write to a terminal', async () => {
    const image = disk([
      [0, 'XFSB'],
      [108, '\x1b[2Jevil\n'],
    ]);
    assert.equal(explainSignatures(await inspect(image)), 'xfs file system, label [2Jevil');
  });
});

describe('M17 what the real tools make is found, and named as blkid names it', () => {
  const tools: readonly (readonly [text: string, sizeBytes: number, command: readonly string[]])[] = [
    ['ext2 file system, label data', 8 * mib, ['mkfs.ext2', '-q', '-F', '-L', 'data']],
    ['ext3 file system, label data', 16 * mib, ['mkfs.ext3', '-q', '-F', '-L', 'data']],
    ['ext4 file system, label data', 16 * mib, ['mkfs.ext4', '-q', '-F', '-L', 'data']],
    ['btrfs file system, label data', 128 * mib, ['mkfs.btrfs', '-q', '-f', '-L', 'data']],
    ['xfs file system, label data', 320 * mib, ['mkfs.xfs', '-q', '-f', '-L', 'data']],
    ['swap, label data', 8 * mib, ['mkswap', '-q', '-L', 'data']],
  ];
  for (const [text, sizeBytes, [tool = '', ...parameters]] of tools) {
    const there = spawnSync('sh', ['-c', `command -v ${tool}`], { env: toolEnvironment() }).status === 0;
    test(`${tool}: ${text}`, there ? {} : { skip: `missing tool: ${tool}` }, async () => {
      const folder = mkdtempSync(join(tmpdir(), 'dm-remap-signatures-'));
      try {
        const path = join(folder, 'image');
        const descriptor = openSync(path, 'wx');
        ftruncateSync(descriptor, sizeBytes);
        closeSync(descriptor);
        const made = spawnSync(tool, [...parameters, path], { encoding: 'utf8', env: toolEnvironment() });
        assert.equal(made.status, 0, made.stderr);
        assert.equal(explainSignatures(await inspect(readFileSync(path))), text);
        const blkid = spawnSync('blkid', ['-p', '-o', 'value', '-s', 'TYPE', path], {
          encoding: 'utf8',
          env: toolEnvironment(),
        });
        if (blkid.error === undefined) assert.equal(blkid.stdout.trim(), text.split(/[ ,]/, 1)[0]);
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  }
});

function toolEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` };
}
