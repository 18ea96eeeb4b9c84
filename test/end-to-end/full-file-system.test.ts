import assert from 'node:assert/strict';
import { mkdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { remappedGranules } from './bad-disk.ts';
import { DeviceLab, pattern } from './device-lab.ts';
import { missingForMounts, missingTool, mustRunTool } from './foreign-tool.ts';
import { assertNothingLeftOver } from './nothing-left-over.ts';

const mebibyte = 1024 * 1024;
const fileSystemBytes = 32 * mebibyte;
/** A sparse image with more room in it than there is below it. */
const mainBytes = 64 * mebibyte;

let lab: DeviceLab;
/** What must be undone, last first. */
let undo: (() => Promise<unknown>)[];

beforeEach(() => {
  lab = new DeviceLab();
  undo = [];
});

afterEach(async () => {
  try {
    await lab.run('remove', 'disk');
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
    assert.deepEqual(lab.leftovers(), []);
    assertNothingLeftOver(lab.folder);
  } finally {
    await lab.close();
  }
});

/** A small file system of its own, mounted. */
async function mountSmall(): Promise<string> {
  const image = lab.image('small.img', fileSystemBytes);
  await mustRunTool('mkfs.ext4', '-q', '-F', image);
  const loop = (await mustRunTool('losetup', '--find', '--show', image)).trim();
  undo.push(() => mustRunTool('losetup', '--detach', loop));
  const folder = lab.path('small');
  mkdirSync(folder);
  await mustRunTool('mount', loop, folder);
  undo.push(() => mustRunTool('umount', folder));
  return folder;
}

const skip = missingTool('mkfs.ext4', 'losetup', 'mount', 'umount') || missingForMounts();

for (const cache of ['none', 'writeback'] as const) {
  const title = `R15 --cache=${cache}: a main whose file system is full answers ENOSPC, moves nothing, and keeps what it has`;
  test(title, { skip, timeout: 60_000 }, async () => {
    const main = join(await mountSmall(), 'main.img');
    writeFileSync(main, '');
    truncateSync(main, mainBytes);
    lab.image('spare.img', 40 * mebibyte);
    await lab.mustRun('create', 'disk', '--main', main, '--spare', 'spare.img', '--cache', cache);
    const client = await lab.connect('disk');
    const stored: number[] = [];
    let refused = 0;
    for (let offset = 0; offset < mainBytes; offset += mebibyte) {
      try {
        await client.write(pattern(offset, mebibyte, 1), offset);
        stored.push(offset);
      } catch (error) {
        assert.match(String(error), /ENOSPC/);
        refused += 1;
      }
    }
    assert.ok(refused > 20 && stored.length > 10, `${refused} refused, ${stored.length} stored`);
    assert.ok(statSync(main).blocks * 512 < fileSystemBytes, 'the image has holes');
    await client.flush();
    assert.deepEqual(await remappedGranules(lab, 'disk'), []);
    assert.equal(await lab.mustRun('message', 'disk', '0', 'lost'), '');
    const { remap } = JSON.parse(await lab.mustRun('status', 'disk', '--json')) as {
      remap: { health: string; counters: Record<string, number> };
    };
    assert.ok(remap.counters['writesWithoutRoom']! >= refused, 'each refused write was counted');
    assert.match(
      await lab.mustRun('status', 'disk'),
      /health +degraded: .*file system or volume below is full/,
    );
    assert.match(await lab.mustRun('events', 'disk', '--kind', 'no-room'), /main has no room for 1 write/);
    // What was there can be written again, and read.
    await client.write(pattern(0, mebibyte, 2), 0);
    await client.disconnect();
    await lab.kill('disk');
    await lab.mustRun('assemble', '--spare', 'spare.img', '--cache', cache);
    const again = await lab.connect('disk');
    const bytes = new Uint8Array(mebibyte);
    for (const offset of stored) {
      await again.read(bytes, offset);
      const wanted = pattern(offset, mebibyte, offset === 0 ? 2 : 1);
      assert.ok(Buffer.from(bytes).equals(wanted), `${offset} as it was stored`);
    }
    await again.disconnect();
  });
}
