import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { DeviceLab } from './device-lab.ts';
import { mustRunTool, runTool } from './foreign-tool.ts';
import { KernelAttachment, missingForAttachment } from './kernel-attachment.ts';
import { assertNothingLeftOver } from './nothing-left-over.ts';

const mebibyte = 1024 * 1024;
/** Below 300 MiB mkfs.xfs refuses. */
const mainBytes = 320 * mebibyte;
/** Where each mkfs reads, or writes a part of a page, before it has written anything: the page cache reads first. */
const bad = [
  [0, 1],
  [2, 1],
  [1000, 2],
] as const;

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

/** The path of main's table. */
async function createOver(...flags: readonly string[]): Promise<string> {
  const table = lab.faultTable('main.table', lab.image('main.img', mainBytes), mainBytes, bad);
  lab.image('spare.img', 64 * mebibyte);
  await lab.mustRun('create', 'disk', '--main-table', table, '--spare', 'spare.img', ...flags);
  return table;
}

const kinds = [
  { name: 'ext4', make: ['mkfs.ext4', '-q', '-F'], check: ['e2fsck', '-f', '-n'] },
  { name: 'xfs', make: ['mkfs.xfs', '-q', '-f'], check: ['xfs_repair', '-n'] },
  { name: 'btrfs', make: ['mkfs.btrfs', '-q', '-f'], check: ['btrfs', 'check', '--readonly'] },
] as const;

describe('a disk whose first sectors are bad', () => {
  for (const { name, make, check } of kinds) {
    const [makeTool, ...makeWords] = make;
    const [checkTool, ...checkWords] = check;
    const skip = missingForAttachment(makeTool, checkTool);

    it(`R13 takes ${name} when it was created fresh, and keeps it over a restart`, { skip }, async () => {
      const table = await createOver('--fresh');
      const loop = await attachment.attach();
      await mustRunTool(makeTool, ...makeWords, loop);
      await mustRunTool(checkTool, ...checkWords, loop);
      writeFileSync(join(await attachment.mount(loop), 'file'), 'bytes');
      await attachment.undoAll();
      // mkfs.btrfs writes there before it reads.
      const met = name === 'btrfs' ? /^mainWriteErrors [1-9]/m : /^freshZeros [1-9]/m;
      assert.match(await lab.mustRun('message', 'disk', '0', 'stats'), met, 'a bad sector was met');
      await lab.mustRun('remove', 'disk');

      await lab.mustRun('assemble', '--main-table', table, '--spare', 'spare.img');
      const again = await attachment.attach();
      await mustRunTool(checkTool, ...checkWords, again);
      const folder = await attachment.mount(again, '-o', 'ro');
      assert.equal(readFileSync(join(folder, 'file'), 'utf8'), 'bytes');
    });
  }

  // mkfs.xfs reads past the page cache here and lives with errors; mkfs.ext4 stands for all that do not.
  const skip = missingForAttachment('mkfs.ext4');
  it('R13 refuses ext4 without it, and says what helps', { skip }, async () => {
    await createOver();
    const made = await runTool('mkfs.ext4', '-q', '-F', await attachment.attach());
    assert.notEqual(made.status, 0, 'a bad sector was read');
    await attachment.undoAll();
    const status = await lab.mustRun('status', 'disk');
    assert.match(status, /lost zero SECTOR COUNT yes.*create --fresh/);
  });
});
