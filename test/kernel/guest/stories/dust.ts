import assert from 'node:assert/strict';
import { pattern } from '../../../end-to-end/device-lab.ts';
import { BlockLab, mebibyte, sectorBytes } from '../block-lab.ts';
import { MappedDisk } from '../mapped-disk.ts';

const mainBytes = 64 * mebibyte;
const bad = [3, 4, 100, 4096, 50_000, 131_071] as const;

/** R23 over dm-dust, which a write heals: lost until it is written, then on main again, and no place of the spare is used. */
export function dustyMain(): Promise<string> {
  return BlockLab.use(async (disks) => {
    const { attachment, lab } = disks;
    const below = await disks.loop('main.img', mainBytes);
    const table = `0 ${mainBytes / sectorBytes} dust ${below} 0 512`;
    const main = await disks.keep(MappedDisk.create(`${disks.prefix}main`, table));
    for (const sector of bad) await main.message('addbadblock', String(sector));
    await main.message('enable');
    const spare = await disks.loop('spare.img', 32 * mebibyte);
    await disks.create(main.path, spare);
    await disks.within(async () => {
      const device = await disks.open(await attachment.attach());
      const bytes = new Uint8Array(sectorBytes);
      const read = async (sector: number): Promise<void> => device.read(bytes, sector * sectorBytes);
      for (const sector of bad) {
        await assert.rejects(read(sector), `sector ${sector}`);
        await read(sector === bad.at(-1) ? sector - 1 : sector + 2);
      }
      assert.deepEqual(await disks.lost(), new Set(bad), 'exactly they are lost');
      assert.equal((await disks.held()).size, 0);
      for (const sector of bad)
        await device.write(pattern(sector * sectorBytes, sectorBytes, 1), sector * sectorBytes);
      await device.flush();
      for (const sector of bad) {
        await read(sector);
        assert.deepEqual(bytes, pattern(sector * sectorBytes, sectorBytes, 1));
      }
    });
    await attachment.undoAll();
    assert.equal((await disks.lost()).size, 0, 'nothing is lost any more');
    assert.equal((await disks.held()).size, 0, 'and nothing was moved');
    await lab.mustRun('remove', 'disk');
    return `${bad.length} sectors lost, healed by writes, 0 moved`;
  });
}
