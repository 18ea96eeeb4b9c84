import assert from 'node:assert/strict';
import { mustRunTool } from '../end-to-end/foreign-tool.ts';

type Command = readonly [tool: string, ...words: string[]];

/** In sectors of 512 bytes of the disk below the file system; the end is not in it. */
export interface SectorRange {
  readonly first: number;
  readonly end: number;
}

export interface FileSystemKind {
  readonly name: 'ext4' | 'xfs' | 'btrfs';
  /** Below it mkfs refuses. */
  readonly mainBytesMin: number;
  readonly tools: readonly string[];
  readonly make: Command;
  readonly mountOptions: readonly string[];
  /** Looks, and does not repair. */
  readonly check: Command;
  /** For a file system that cannot be mounted, or has shut down, because of lost sectors. */
  readonly repair: Command;
  /** Where the bytes that the file system calls `range` are on its disk. */
  placesOf(loop: string, ranges: readonly SectorRange[]): Promise<readonly SectorRange[]>;
}

const mebibyte = 1024 * 1024;
const sectorBytes = 512;

export const fileSystemKinds: readonly FileSystemKind[] = [
  {
    name: 'ext4',
    mainBytesMin: 200 * mebibyte,
    tools: ['mkfs.ext4', 'e2fsck'],
    // Everything that is read later is written now: a bad sector below it is moved by that write.
    make: ['mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0,nodiscard'],
    mountOptions: ['-o', 'errors=continue'],
    check: ['e2fsck', '-f', '-n'],
    repair: ['e2fsck', '-f', '-y'],
    placesOf: (_loop, ranges) => Promise.resolve(ranges),
  },
  {
    name: 'xfs',
    mainBytesMin: 320 * mebibyte,
    tools: ['mkfs.xfs', 'xfs_repair'],
    make: ['mkfs.xfs', '-q', '-f', '-K'],
    mountOptions: [],
    check: ['xfs_repair', '-n'],
    repair: ['xfs_repair', '-L'],
    placesOf: (_loop, ranges) => Promise.resolve(ranges),
  },
  {
    name: 'btrfs',
    mainBytesMin: 200 * mebibyte,
    tools: ['mkfs.btrfs', 'btrfs'],
    make: ['mkfs.btrfs', '-q', '-f', '-K', '--data', 'single', '--metadata', 'dup'],
    mountOptions: [],
    check: ['btrfs', 'check', '--readonly'],
    repair: ['btrfs', 'rescue', 'zero-log'],
    placesOf: btrfsPlaces,
  },
];

/** Where the data of a file is, as the file system counts. Data in the inode, and holes, are nowhere. */
export async function dataRangesOf(path: string): Promise<SectorRange[]> {
  const output = await mustRunTool('filefrag', '-b512', '-e', '-s', path);
  return output
    .split('\n')
    .map((line) => /^\s*\d+:\s+\d+\.\.\s*\d+:\s+(\d+)\.\.\s*(\d+):\s+\d+:(.*)$/.exec(line))
    .filter((match) => match !== null && !/inline|not_aligned|unknown_loc/.test(match[3]!))
    .map((match) => ({ first: Number(match![1]), end: Number(match![2]) + 1 }));
}

/** A chunk of btrfs, in bytes: what it calls `logical` is at `physical`, in each of the copies. */
interface Chunk {
  readonly logical: number;
  readonly length: number;
  readonly copies: readonly number[];
}

/** btrfs counts in addresses of its own; its chunk tree says where they are. */
async function btrfsPlaces(loop: string, ranges: readonly SectorRange[]): Promise<SectorRange[]> {
  // What the tool reads may be in the page cache of the block device since before it was written.
  await mustRunTool('blockdev', '--flushbufs', loop);
  const tree = await mustRunTool('btrfs', 'inspect-internal', 'dump-tree', '-t', 'chunk', loop);
  const chunks = chunksIn(tree);
  assert.ok(chunks.length > 1, tree);
  return ranges.flatMap(({ first, end }) =>
    chunks.flatMap(({ logical, length, copies }) => {
      const from = Math.max(first * sectorBytes, logical);
      const to = Math.min(end * sectorBytes, logical + length);
      if (from >= to) return [];
      return copies.map((physical) => ({
        first: (physical + from - logical) / sectorBytes,
        end: (physical + to - logical) / sectorBytes,
      }));
    }),
  );
}

function chunksIn(tree: string): Chunk[] {
  return tree
    .split(/^\titem /m)
    .slice(1)
    .flatMap((item) => {
      const key = /FIRST_CHUNK_TREE CHUNK_ITEM (\d+)\)/.exec(item);
      const length = /\blength (\d+) owner/.exec(item);
      if (key === null || length === null) return [];
      const copies = [...item.matchAll(/stripe \d+ devid \d+ offset (\d+)/g)].map(([, offset]) =>
        Number(offset),
      );
      return [{ logical: Number(key[1]), length: Number(length[1]), copies }];
    });
}
