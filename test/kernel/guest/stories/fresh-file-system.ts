import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileSystemKinds } from '../../../acceptance/file-system-kinds.ts';
import { mustRunTool } from '../../../end-to-end/foreign-tool.ts';
import { BlockLab, mebibyte, sectorBytes } from '../block-lab.ts';
import { TracedDisk } from '../traced-disk.ts';

/** Where each mkfs reads, or writes a part of a page, before it has written anything. */
const bad = [0, 2, 1000, 1001] as const;

/** R13: a file system is made with `--fresh` on a disk whose first sectors are dead, and is there after a restart. */
export function freshFileSystem(name: 'ext4' | 'xfs' | 'btrfs'): Promise<string> {
  const kind = fileSystemKinds.find((one) => one.name === name)!;
  return BlockLab.use(async (disks) => {
    const { attachment, lab } = disks;
    const sectorCount = kind.mainBytesMin / sectorBytes;
    const below = await disks.loop('main.img', kind.mainBytesMin);
    const main = await disks.keep(TracedDisk.create(`${disks.prefix}main`, below, sectorCount));
    await main.wearOut(bad, 'everything');
    const spare = await disks.loop('spare.img', 48 * mebibyte);
    await disks.create(main.path, spare, '--fresh');
    const [make, ...makeWords] = kind.make;
    const [check, ...checkWords] = kind.check;
    const device = await attachment.attach();
    await mustRunTool(make, ...makeWords, device);
    writeFileSync(join(await attachment.mount(device), 'file'), 'bytes');
    await attachment.undoAll();
    await lab.mustRun('remove', 'disk');
    await lab.mustRun('assemble', '--main', main.path, '--spare', spare);
    const again = await attachment.attach();
    await mustRunTool(check, ...checkWords, again);
    assert.equal(readFileSync(join(await attachment.mount(again, '-o', 'ro'), 'file'), 'utf8'), 'bytes');
    await attachment.undoAll();
    const touched = [...(await main.touches()).values()].filter(
      ({ reads, writes }) => reads + writes > 0,
    ).length;
    assert.ok(touched > 0, 'a bad sector was met');
    const held = await disks.held();
    assert.deepEqual(
      [...held].filter((sector) => !bad.some((one) => one === sector)),
      [],
      'nothing else is moved',
    );
    await lab.mustRun('remove', 'disk');
    return `${name}: clean, ${touched} of ${bad.length} dead sectors met, ${held.size} moved`;
  });
}
