import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { badGranules, remappedGranules, spreadBadSectors } from './bad-disk.ts';
import { DeviceLab } from './device-lab.ts';
import { mustRunTool } from './foreign-tool.ts';
import { KernelAttachment, missingForAttachment } from './kernel-attachment.ts';
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
let attachment: KernelAttachment;

beforeEach(() => {
  lab = new DeviceLab();
  attachment = new KernelAttachment(lab);
});

afterEach(async () => {
  try {
    await attachment.undoAll();
    await lab.run('remove', 'disk');
    assert.deepEqual(lab.leftovers(), []);
    assertNothingLeftOver(lab.folder);
  } finally {
    await lab.close();
  }
});

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
  const skip = missingForAttachment(...kind.tools);
  test(title, { skip }, async () => {
    const endSector = mainBytes / 512 - healthyEndSectors;
    const bad = spreadBadSectors(`file-systems ${kind.name}`, badCount, healthyEndSectors, endSector);
    const table = lab.faultTable('main.table', lab.image('main.img', mainBytes), mainBytes, bad);
    lab.image('spare.img', 64 * mebibyte);
    await lab.mustRun('create', 'disk', '--main-table', table, '--spare', 'spare.img');

    const loop = await attachment.attach();
    const [make, ...makeWords] = kind.make;
    await mustRunTool(make, ...makeWords, loop);
    const hashes = writeFiles(await attachment.mount(loop));
    // Unmounted, but still attached when the power goes.
    await attachment.undoLast();
    await lab.kill('disk');
    await attachment.undoAll();

    await lab.mustRun('assemble', '--main-table', table, '--spare', 'spare.img');
    const again = await attachment.attach();
    const [check, ...checkWords] = kind.check;
    await mustRunTool(check, ...checkWords, again);
    await attachment.mount(again, '-o', 'ro');
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
