import assert from 'node:assert/strict';
import { pattern } from '../../../end-to-end/device-lab.ts';
import { BlockLab, mebibyte, sectorBytes } from '../block-lab.ts';
import { MappedDisk } from '../mapped-disk.ts';
import { TracedDisk } from '../traced-disk.ts';

const mainBytes = 64 * mebibyte;
const delayMs = 50;
const bad = [8, 9, 10, 5000, 60_000, 90_001] as const;
/** Some answers of main and of the spare, one after the other. */
const writeMsMax = 10_000;

/** Over dm-delay: disks that are slow are no bad disks, and a bad sector on one costs answers, not minutes. */
export function delayedMain(): Promise<string> {
  return BlockLab.use(async (disks) => {
    const { attachment, lab } = disks;
    const slow = async (name: string, sizeBytes: number): Promise<string> => {
      const below = await disks.loop(`${name}.img`, sizeBytes);
      const table = `0 ${sizeBytes / sectorBytes} delay ${below} 0 ${delayMs}`;
      return (await disks.keep(MappedDisk.create(`${disks.prefix}${name}`, table))).path;
    };
    const main = await disks.keep(
      TracedDisk.create(`${disks.prefix}main`, await slow('slow-main', mainBytes), mainBytes / sectorBytes, {
        isTraced: false,
      }),
    );
    await main.wearOut(bad, 'everything');
    await disks.create(main.path, await slow('slow-spare', 32 * mebibyte));
    const times: number[] = [];
    await disks.within(async () => {
      const device = await disks.open(await attachment.attach());
      const write = async (sector: number): Promise<void> => {
        const startMs = performance.now();
        await device.write(pattern(sector * sectorBytes, sectorBytes, 1), sector * sectorBytes);
        times.push(performance.now() - startMs);
      };
      for (const sector of bad) await write(sector);
      // Beside each other: what is slow is nobody else's business.
      await Promise.all(Array.from({ length: 64 }, (_, index) => write(70_000 + index * 64)));
      await device.flush();
      const bytes = new Uint8Array(sectorBytes);
      for (const sector of bad) {
        await device.read(bytes, sector * sectorBytes);
        assert.deepEqual(bytes, pattern(sector * sectorBytes, sectorBytes, 1));
      }
    });
    await attachment.undoAll();
    assert.deepEqual(await disks.held(), new Set(bad));
    assert.equal((await disks.lost()).size, 0);
    await lab.mustRun('remove', 'disk');
    const [fastest, slowest] = [Math.min(...times), Math.max(...times)];
    assert.ok(fastest >= delayMs, `the disk was not slow: ${fastest} ms`);
    assert.ok(slowest < writeMsMax, `${Math.round(slowest)} ms`);
    return `${bad.length} bad sectors moved between disks that take ${delayMs} ms, the slowest write ${Math.round(slowest)} ms`;
  });
}
