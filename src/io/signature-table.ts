/** What blkid calls the usage of a signature. */
export type SignatureUsage = 'file system' | 'partition table' | 'container' | 'swap' | 'cache' | 'dm-remap';

/** Bytes read from a disk, at disk offsets; undefined where the disk could not be read or ends. */
export interface DiskBytes {
  readonly sizeBytes: number;
  at(offset: number, length: number): Uint8Array | undefined;
}

/** One kind of contents: a magic at any of some places, and what must hold beside it. */
export interface SignatureForm {
  readonly name: string;
  readonly usage: SignatureUsage;
  /** Byte offsets of the magic; a function when they depend on the disk's size. Places outside of the disk are left out. */
  readonly places: readonly number[] | ((sizeBytes: number) => readonly number[]);
  readonly magic: Uint8Array;
  /** Says more than the magic: a magic of two or four bytes alone is met by chance. `place` is where the magic was. */
  readonly confirm?: (disk: DiskBytes, place: number) => boolean;
  /** A better name, when the superblock tells: ext2, ext3 or ext4. */
  readonly refine?: (disk: DiskBytes, place: number) => string;
  readonly label?: (disk: DiskBytes, place: number) => string;
}

const kib = 1024;
const mib = 1024 * kib;

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));
}

/** Text of a fixed field: to the first zero byte, without the blanks that pad it, without what a terminal would obey. */
function fieldText(bytes: Uint8Array | undefined): string {
  if (bytes === undefined) return '';
  const end = bytes.indexOf(0);
  const text = new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
  return text.replace(/\p{Cc}+/gu, ' ').trim();
}

function wideText(bytes: Uint8Array | undefined): string {
  if (bytes === undefined) return '';
  const text = new TextDecoder('utf-16le').decode(bytes);
  return (text.split('\0', 1)[0] ?? '').replace(/\p{Cc}+/gu, ' ').trim();
}

/** The label field `distance` bytes after (or, negative, before) the magic. */
function labelAfter(distance: number, length: number): (disk: DiskBytes, place: number) => string {
  return (disk, place) => fieldText(disk.at(place + distance, length));
}

function u16(disk: DiskBytes, offset: number): number {
  const bytes = disk.at(offset, 2);
  return bytes === undefined ? -1 : bytes[0]! | (bytes[1]! << 8);
}

function u32(disk: DiskBytes, offset: number): number {
  const bytes = disk.at(offset, 4);
  return bytes === undefined ? -1 : new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
}

function alignDown(offset: number, unit: number): number {
  return Math.floor(offset / unit) * unit;
}

/** Superblock at 1024; magic 56 bytes into it. Feature words as in fs/ext4/ext4.h. */
const extSuperblock = 1024;
const extJournalDevice = 0x0008;
const extOnlyIncompatible =
  0x0040 | 0x0080 | 0x0100 | 0x0200 | 0x0400 | 0x1000 | 0x2000 | 0x4000 | 0x8000 | 0x10000;
const extOnlyReadOnly = 0x0008 | 0x0010 | 0x0020 | 0x0040 | 0x0100 | 0x0200 | 0x0400 | 0x2000;
const extHasJournal = 0x0004;

function extName(disk: DiskBytes): string {
  const compatible = u32(disk, extSuperblock + 92);
  const incompatible = u32(disk, extSuperblock + 96);
  const readOnly = u32(disk, extSuperblock + 100);
  if ((incompatible & extJournalDevice) !== 0) return 'ext journal';
  if ((incompatible & extOnlyIncompatible) !== 0 || (readOnly & extOnlyReadOnly) !== 0) return 'ext4';
  return (compatible & extHasJournal) !== 0 ? 'ext3' : 'ext2';
}

/** Places of a LUKS2 header's second copy, by header size. */
const luksCopies = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096].map((size) => size * kib);

/** Pages of 4 to 64 KiB: the magic ends the first one. */
const swapPlaces = [4, 8, 16, 32, 64].map((size) => size * kib - 10);

/** A ZFS label is 256 KiB: two at the start, two at the end; its second half is a ring of uberblocks, one per KiB or more. */
const zfsLabelBytes = 256 * kib;
const zfsRingOffset = 128 * kib;

function zfsPlaces(sizeBytes: number): readonly number[] {
  const end = alignDown(sizeBytes, zfsLabelBytes);
  const labels = [0, zfsLabelBytes, end - 2 * zfsLabelBytes, end - zfsLabelBytes];
  return labels.flatMap((label) =>
    Array.from({ length: 128 }, (_, slot) => label + zfsRingOffset + slot * kib),
  );
}

const mdMagic = hex('fc4e2ba9');
const mdMagicSwapped = hex('a92b4efc');

function md(version: string, places: SignatureForm['places']): SignatureForm {
  return {
    name: `Linux RAID member (md ${version})`,
    usage: 'container',
    places,
    magic: mdMagic,
    confirm: (disk, place) => u32(disk, place + 4) === (version === '0.90' ? 0 : 1),
    ...(version === '0.90' ? {} : { label: labelAfter(32, 32) }),
  };
}

function fileSystem(
  name: string,
  places: readonly number[],
  magic: Uint8Array,
  more: Partial<SignatureForm> = {},
): SignatureForm {
  return { name, usage: 'file system', places, magic, ...more };
}

function container(
  name: string,
  places: readonly number[],
  magic: Uint8Array,
  more: Partial<SignatureForm> = {},
): SignatureForm {
  return { name, usage: 'container', places, magic, ...more };
}

/** A superblock of device-mapper's persistent data: checksum, flags, block number, UUID, then the magic. */
function dmMetadata(name: string, magicNumber: number): SignatureForm {
  const magic = new Uint8Array(8);
  new DataView(magic.buffer).setUint32(0, magicNumber, true);
  return { name, usage: 'cache', places: [32], magic };
}

/** Boot sectors of FAT carry the jump instruction, and plausible numbers; their names alone are texts met anywhere. */
function isFatBootSector(disk: DiskBytes): boolean {
  const start = disk.at(0, 32);
  if (start === undefined || (start[0] !== 0xeb && start[0] !== 0xe9)) return false;
  const sectorLength = u16(disk, 11);
  return [512, 1024, 2048, 4096].includes(sectorLength) && (start[16] ?? 0) > 0;
}

/** Every form but partition tables of the old kind, which need a judgement (`findBootRecord`). Offsets as libblkid's. */
export const signatureForms: readonly SignatureForm[] = [
  {
    name: 'GPT partition table',
    usage: 'partition table',
    places: [512, 4096],
    magic: ascii('EFI PART'),
  },
  {
    name: 'GPT partition table (its backup at the end)',
    usage: 'partition table',
    places: (sizeBytes) => [sizeBytes - 512, sizeBytes - 4096],
    magic: ascii('EFI PART'),
  },

  fileSystem('ext', [extSuperblock + 56], hex('53ef'), {
    // A block size of 1 KiB to 64 KiB and a count of inodes: two bytes of magic are met by chance.
    confirm: (disk) => u32(disk, extSuperblock + 24) <= 6 && u32(disk, extSuperblock) > 0,
    refine: extName,
    label: labelAfter(120 - 56, 16),
  }),
  fileSystem('xfs', [0], ascii('XFSB'), { label: labelAfter(108, 12) }),
  fileSystem('btrfs', [64 * kib + 64], ascii('_BHRfS_M'), { label: labelAfter(0x12b - 64, 256) }),
  fileSystem('bcachefs', [4096 + 24], hex('c68573f6 66ce90a9 d96a60cf 803df7ef'), {
    label: labelAfter(48, 32),
  }),
  fileSystem('f2fs', [1024, 1024 + 4096], hex('1020f5f2'), {
    label: (disk, place) => wideText(disk.at(place + 0x7c, 64)),
  }),
  fileSystem('nilfs2', [1024 + 6], hex('3434'), {
    confirm: (disk) => u32(disk, 1024) === 2 && u16(disk, 1024 + 8) > 100 && u16(disk, 1024 + 8) <= 1024,
    label: labelAfter(168 - 6, 80),
  }),
  fileSystem('jfs', [32 * kib], ascii('JFS1'), { label: labelAfter(152, 16) }),
  fileSystem('reiserfs', [64 * kib + 52, 8 * kib + 52], ascii('ReIsErFs')),
  fileSystem('reiserfs', [64 * kib + 52, 8 * kib + 52], ascii('ReIsEr2Fs')),
  fileSystem('reiserfs', [64 * kib + 52, 8 * kib + 52], ascii('ReIsEr3Fs')),
  fileSystem('reiser4', [64 * kib], ascii('ReIsEr4')),
  fileSystem('ntfs', [3], ascii('NTFS    ')),
  fileSystem('exfat', [3], ascii('EXFAT   ')),
  fileSystem('vfat', [82], ascii('FAT32   '), { confirm: isFatBootSector, label: labelAfter(71 - 82, 11) }),
  fileSystem('vfat', [54], ascii('FAT16   '), { confirm: isFatBootSector, label: labelAfter(43 - 54, 11) }),
  fileSystem('vfat', [54], ascii('FAT12   '), { confirm: isFatBootSector, label: labelAfter(43 - 54, 11) }),
  fileSystem('iso9660', [32 * kib + 1], ascii('CD001'), { label: labelAfter(39, 32) }),
  fileSystem(
    'udf',
    [1, 2, 3, 4].map((sector) => 32 * kib + sector * 2048 + 1),
    ascii('NSR0'),
  ),
  fileSystem('squashfs', [0], ascii('hsqs')),
  fileSystem('squashfs', [0], ascii('sqsh')),
  fileSystem('erofs', [1024], hex('e2e1f5e0'), { label: labelAfter(64, 16) }),
  fileSystem('hfs+', [1024], hex('482b0004')),
  fileSystem('hfs+', [1024], hex('48580005')),
  fileSystem('apfs', [32], ascii('NXSB')),
  fileSystem(
    'ocfs2',
    [2, 4, 8].map((size) => size * kib),
    ascii('OCFSV2'),
  ),
  fileSystem('gfs2', [64 * kib], hex('01161970')),
  fileSystem('vmfs', [mib], hex('0df001c0')),
  {
    name: 'zfs pool member',
    usage: 'file system',
    places: zfsPlaces,
    magic: hex('0cb1ba00 00000000'),
  },
  {
    name: 'zfs pool member',
    usage: 'file system',
    places: zfsPlaces,
    magic: hex('00000000 00bab10c'),
  },

  container('LUKS encrypted volume', [0], ascii('LUKS\xba\xbe'), {
    refine: (disk) => `LUKS${disk.at(7, 1)?.[0] === 2 ? '2' : '1'} encrypted volume`,
    label: (disk) => (disk.at(7, 1)?.[0] === 2 ? fieldText(disk.at(24, 48)) : ''),
  }),
  container('LUKS2 encrypted volume (second header)', luksCopies, ascii('SKUL\xba\xbe')),
  container('BitLocker encrypted volume', [3], ascii('-FVE-FS-')),
  container('LVM2 physical volume', [0, 512, 1024, 1536], ascii('LABELONE'), {
    confirm: (disk, place) => fieldText(disk.at(place + 24, 8)) === 'LVM2 001',
  }),
  md('0.90', (sizeBytes) => [alignDown(sizeBytes, 64 * kib) - 64 * kib]),
  {
    ...md('0.90', (sizeBytes) => [alignDown(sizeBytes, 64 * kib) - 64 * kib]),
    magic: mdMagicSwapped,
    confirm: (disk, place) => u32(disk, place + 4) === 0,
  },
  md('1.0', (sizeBytes) => [alignDown(sizeBytes - 8 * kib, 4 * kib)]),
  md('1.1', [0]),
  md('1.2', [4 * kib]),
  {
    name: 'Intel RAID member',
    usage: 'container',
    places: (sizeBytes) => [sizeBytes - 1024, sizeBytes - 8192],
    magic: ascii('Intel Raid ISM Cfg Sig. '),
  },
  {
    name: 'DDF RAID member',
    usage: 'container',
    places: (sizeBytes) => [sizeBytes - 512, sizeBytes - 512 - 128 * kib],
    magic: hex('de11de11'),
  },
  ...['8374026b', '8374026c', '8374026d'].map(
    (magic): SignatureForm => ({
      name: 'DRBD member',
      usage: 'container',
      places: (sizeBytes) => [alignDown(sizeBytes, 4 * kib) - 4 * kib + 60],
      magic: hex(magic),
    }),
  ),
  container('dm-integrity volume', [0], ascii('integrt\0')),
  container('dm-verity hash volume', [0], ascii('verity\0\0')),
  container('VDO volume', [0], ascii('dmvdo001')),
  container('Ceph BlueStore volume', [0], ascii('bluestore block device')),

  { name: 'bcache', usage: 'cache', places: [4096 + 24], magic: hex('c68573f6 4e1a45ca 8265f57f 48ba6d81') },
  // Written with a leading zero in drivers/md/dm-cache-metadata.c, which makes it octal.
  dmMetadata('dm-cache metadata', 0o6142003),
  dmMetadata('dm-thin metadata', 27022010),
  dmMetadata('dm-era metadata', 2126579579),

  ...['SWAPSPACE2', 'SWAP-SPACE'].map(
    (magic): SignatureForm => ({
      name: 'swap',
      usage: 'swap',
      places: swapPlaces,
      magic: ascii(magic),
      label: (disk) => (magic === 'SWAPSPACE2' ? fieldText(disk.at(1024 + 28, 16)) : ''),
    }),
  ),
  ...['S1SUSPEND', 'S2SUSPEND', 'ULSUSPEND', 'LINHIB0001'].map(
    (magic): SignatureForm => ({
      name: 'swap (a suspended system)',
      usage: 'swap',
      places: swapPlaces,
      magic: ascii(magic),
    }),
  ),
];

/** Partition types of a master boot record that stand for a whole disk under GPT. */
const protectiveType = 0xee;

/**
 * A master boot record: the mark at 510 is also that of FAT and NTFS boot sectors and of boot loaders, so it counts only
 * with four sane entries of which one is used. Undefined when there is none.
 */
export function findBootRecord(disk: DiskBytes): string | undefined {
  const sector = disk.at(0, 512);
  if (sector === undefined || sector[510] !== 0x55 || sector[511] !== 0xaa) return undefined;
  let used = 0;
  let protective = false;
  for (let entry = 446; entry < 510; entry += 16) {
    const status = sector[entry]!;
    if (status !== 0 && status !== 0x80) return undefined;
    const type = sector[entry + 4]!;
    if (type === 0) continue;
    if (u32(disk, entry + 8) === 0 || u32(disk, entry + 12) === 0) return undefined;
    used += 1;
    if (type === protectiveType) protective = true;
  }
  if (used === 0) return undefined;
  if (protective) return 'protective MBR of a GPT partition table';
  return `MBR partition table with ${used} ${used === 1 ? 'partition' : 'partitions'}`;
}
