import assert from 'node:assert/strict';
import { pattern } from '../../../end-to-end/device-lab.ts';
import { BlockLab, mebibyte, sectorBytes } from '../block-lab.ts';
import { TracedDisk } from '../traced-disk.ts';

const mainBytes = 64 * mebibyte;
/** The original hung there for ever. Alone it takes two seconds. */
const creationMsMax = 30_000;
/** Looking for signatures by each of two processes, sector by sector where a piece is dead. Nothing depends on main's size. */
const mainReadsMax = 256;

/** I1: the device is made over dead sectors in bounded time, without a write to main, and then works on them. */
export async function creation(places: readonly (readonly number[])[]): Promise<string> {
  const seen: string[] = [];
  for (const bad of places) {
    await BlockLab.use(async (disks) => {
      const { attachment, lab } = disks;
      const below = await disks.loop('main.img', mainBytes);
      const main = await disks.keep(TracedDisk.create(`${disks.prefix}main`, below, mainBytes / sectorBytes));
      await main.wearOut(bad, 'everything');
      const before = main.counts();
      const startMs = performance.now();
      await disks.create(main.path, await disks.loop('spare.img', 32 * mebibyte));
      const tookMs = performance.now() - startMs;
      const reads = main.counts().reads - before.reads;
      assert.ok(tookMs < creationMsMax, `took ${Math.round(tookMs)} ms`);
      assert.ok(reads <= mainReadsMax, `${reads} reads of main`);
      assert.equal(main.counts().sectorsWritten, before.sectorsWritten, 'nothing is written to main');

      await disks.within(async () => {
        const device = await disks.open(await attachment.attach());
        for (const sector of bad)
          await device.write(pattern(sector * sectorBytes, sectorBytes, 1), sector * sectorBytes);
        await device.flush();
        const bytes = new Uint8Array(sectorBytes);
        for (const sector of bad) {
          await device.read(bytes, sector * sectorBytes);
          assert.deepEqual(bytes, pattern(sector * sectorBytes, sectorBytes, 1));
        }
      });
      await attachment.undoAll();
      assert.deepEqual([...(await disks.held())], [...bad], 'exactly they are moved');
      await lab.mustRun('remove', 'disk');
      seen.push(`over ${bad.join(' ')}: ${(tookMs / 1000).toFixed(1)} s, ${reads} reads of main`);
    });
  }
  return seen.join('; ');
}
