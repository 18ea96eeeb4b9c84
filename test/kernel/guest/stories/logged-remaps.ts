import assert from 'node:assert/strict';
import { IoFlags } from '../../../../src/block/block-device.ts';
import { fillSectors } from '../../../end-to-end/sector-versions.ts';
import { type LoggedRun, loggedBadSectors, loggedMainBytes, loggedSpareBytes } from '../../logged-run.ts';
import { BlockLab, sectorBytes } from '../block-lab.ts';
import { MappedDisk } from '../mapped-disk.ts';
import { TracedDisk } from '../traced-disk.ts';

const spareBelow = '/dev/ubda';
const log = '/dev/ubdb';
const writersAtOnce = 4;

/** Writes to bad sectors while dm-log-writes under the spare records all that reaches it, with a mark behind each answer. */
export function loggedRemaps({ badCount, rounds }: LoggedRun): Promise<string> {
  return BlockLab.use(async (disks) => {
    const { attachment, lab } = disks;
    const below = await disks.loop('main.img', loggedMainBytes);
    const main = await disks.keep(
      TracedDisk.create('main', below, loggedMainBytes / sectorBytes, { isTraced: false }),
    );
    const bad = loggedBadSectors(badCount);
    await main.wearOut(bad, 'everything');
    const table = `0 ${loggedSpareBytes / sectorBytes} log-writes ${spareBelow} ${log}`;
    const spare = await disks.keep(MappedDisk.create('spare', table));
    await disks.create(main.path, spare.path);
    await spare.message('mark', 'created');
    await disks.within(async () => {
      const device = await disks.open(await attachment.attach());
      const writer = async (index: number, version: number): Promise<void> => {
        for (const sector of bad.filter((_, at) => at % writersAtOnce === index)) {
          const words = new Uint32Array(sectorBytes / 4);
          fillSectors(words, sector, version);
          await device.write(new Uint8Array(words.buffer), sector * sectorBytes, IoFlags.fua);
          await spare.message('mark', `acknowledged:${sector}:${version}`);
        }
      };
      for (let version = 1; version <= rounds; version += 1) {
        await Promise.all(Array.from({ length: writersAtOnce }, (_, index) => writer(index, version)));
      }
    });
    await attachment.undoAll();
    assert.deepEqual(await disks.held(), new Set(bad));
    await lab.mustRun('remove', 'disk');
    await spare.message('mark', 'removed');
    return `${badCount} bad sectors written ${rounds} times`;
  });
}
