import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { badGranules, exportUri, remappedGranules, spreadBadSectors } from './bad-disk.ts';
import { DeviceLab } from './device-lab.ts';
import { missingForMounts, missingTool, mustRunTool, runTool } from './foreign-tool.ts';
import { assertNothingLeftOver } from './nothing-left-over.ts';

const mebibyte = 1024 * 1024;
const mainBytes = 256 * mebibyte;
const badCount = 2000;
/** The ends stay good: what mkfs and blkid read there before anything was written must be readable. */
const healthyEndSectors = (8 * mebibyte) / 512;
const filesBytes = 120 * mebibyte;

interface FileSystemKind {
  readonly name: string;
  readonly tools: readonly string[];
  readonly make: readonly [tool: string, ...words: string[]];
  /** Looks, and does not repair. */
  readonly check: readonly [tool: string, ...words: string[]];
}

const kinds: readonly FileSystemKind[] = [
  {
    name: 'ext4',
    tools: ['mkfs.ext4', 'e2fsck'],
    // Everything that is read later is written now: a bad sector below it is moved by that write.
    make: ['mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0,nodiscard'],
    check: ['e2fsck', '-f', '-n'],
  },
  {
    name: 'btrfs',
    tools: ['mkfs.btrfs', 'btrfs'],
    make: ['mkfs.btrfs', '-q', '-f', '-K'],
    check: ['btrfs', 'check', '--readonly'],
  },
];

let lab: DeviceLab;
/** What must be undone, last first, whatever failed. */
let undo: (() => Promise<unknown>)[];

beforeEach(() => {
  lab = new DeviceLab();
  undo = [];
});

afterEach(async () => {
  try {
    await undoAll();
    await lab.run('remove', 'disk');
    assert.deepEqual(lab.leftovers(), []);
    assertNothingLeftOver(lab.folder);
  } finally {
    await lab.close();
  }
});

async function undoAll(): Promise<void> {
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
}

/** The export as a kernel block device: a file by nbdfuse, a loop device over it. */
async function attach(): Promise<string> {
  const folder = lab.path('fuse');
  mkdirSync(folder, { recursive: true });
  const fuse = spawn('nbdfuse', [folder, exportUri(lab, 'disk')], { stdio: 'ignore' });
  undo.push(() => endFuse(fuse, folder));
  const file = join(folder, 'nbd');
  for (let waitedMs = 0; !existsSync(file); waitedMs += 10) {
    assert.ok(waitedMs < 10_000 && fuse.exitCode === null, 'nbdfuse does not start');
    await sleep(10);
  }
  const loop = (await mustRunTool('losetup', '--find', '--show', '--direct-io=on', file)).trim();
  undo.push(() => mustRunTool('losetup', '--detach', loop));
  assert.equal(readFileSync(`/sys/block/${loop.slice('/dev/'.length)}/loop/dio`, 'utf8').trim(), '1');
  return loop;
}

async function endFuse(fuse: ChildProcess, folder: string): Promise<void> {
  const ended = new Promise((resolve) => fuse.once('exit', resolve));
  if (fuse.exitCode === null) {
    // The loop device lets go of the file a moment after it was detached.
    for (let attempt = 0; attempt < 100; attempt += 1) {
      if ((await runTool('fusermount3', '-u', folder)).status === 0) break;
      await sleep(20);
    }
    await ended;
  }
}

async function mount(loop: string, ...options: readonly string[]): Promise<string> {
  const mountPoint = lab.path('mount');
  mkdirSync(mountPoint, { recursive: true });
  await mustRunTool('mount', ...options, loop, mountPoint);
  undo.push(() => mustRunTool('umount', mountPoint));
  return mountPoint;
}

/** Files of very different sizes in some folders, until there are `filesBytes` of them. */
function writeFiles(folder: string): Map<string, string> {
  const hashes = new Map<string, string>();
  const sizes = [100, 4096, 5000, 70_000, mebibyte, 3 * mebibyte + 17];
  let written = 0;
  for (let index = 0; written < filesBytes; index += 1) {
    const directory = join(folder, `folder-${index % 7}`);
    mkdirSync(directory, { recursive: true });
    const bytes = randomBytes(sizes[index % sizes.length]!);
    const path = join(directory, `file-${index}`);
    writeFileSync(path, bytes);
    hashes.set(path, hashOf(bytes));
    written += bytes.length;
  }
  return hashes;
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

for (const kind of kinds) {
  const title = `${kind.name} on a disk with ${badCount} dead sectors survives kill and assemble: clean, every file equal`;
  const skip =
    missingTool('nbdfuse', 'fusermount3', 'losetup', 'mount', 'umount', ...kind.tools) || missingForMounts();
  test(title, { skip }, async () => {
    const endSector = mainBytes / 512 - healthyEndSectors;
    const bad = spreadBadSectors(`file-systems ${kind.name}`, badCount, healthyEndSectors, endSector);
    const table = lab.faultTable('main.table', lab.image('main.img', mainBytes), mainBytes, bad);
    lab.image('spare.img', 64 * mebibyte);
    await lab.mustRun('create', 'disk', '--main-table', table, '--spare', 'spare.img');

    const loop = await attach();
    const [make, ...makeWords] = kind.make;
    await mustRunTool(make, ...makeWords, loop);
    const hashes = writeFiles(await mount(loop));
    // Unmounted, but still attached when the power goes.
    await undo.pop()?.();
    await lab.kill('disk');
    await undoAll();

    await lab.mustRun('assemble', '--main-table', table, '--spare', 'spare.img');
    const again = await attach();
    const [check, ...checkWords] = kind.check;
    await mustRunTool(check, ...checkWords, again);
    await mount(again, '-o', 'ro');
    for (const [path, hash] of hashes) assert.equal(hashOf(readFileSync(path)), hash, path);
    assert.ok(readdirSync(lab.path('mount')).length >= 7);

    const moved = await remappedGranules(lab, 'disk');
    const dead = new Set(badGranules(bad));
    assert.ok(
      moved.length > dead.size / 4,
      `the files met bad sectors: ${moved.length} of ${dead.size} moved`,
    );
    assert.deepEqual(
      moved.filter((granule) => !dead.has(granule)),
      [],
      'I17: nothing healthy was moved',
    );
  });
}
