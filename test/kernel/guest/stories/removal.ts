import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { spreadBadSectors } from '../../../end-to-end/bad-disk.ts';
import { pattern } from '../../../end-to-end/device-lab.ts';
import { BlockLab, mebibyte, sectorBytes } from '../block-lab.ts';
import { fioJob } from '../fio-job.ts';
import { stuckTasks } from '../stuck-tasks.ts';
import { TracedDisk } from '../traced-disk.ts';

const mainBytes = 64 * mebibyte;
const badCount = 64;
/** The original hung for ever with a single remap. */
const removalMsMax = 30_000;
/** Sectors before those that fio writes. */
const own = [8, 9, 200] as const;

/** I6, I7: removal with remaps, and with I/O in flight, ends in bounded time; nothing acknowledged is lost by it. */
export function removal(rounds: number): Promise<string> {
  return BlockLab.use(async (disks) => {
    const { attachment, lab } = disks;
    const sectorCount = mainBytes / sectorBytes;
    const main = await disks.keep(
      TracedDisk.create(`${disks.prefix}main`, await disks.loop('main.img', mainBytes), sectorCount, {
        isTraced: false,
      }),
    );
    const spread = spreadBadSectors('removal', badCount, 2048, sectorCount).map(([sector]) => sector);
    await main.wearOut([...own, ...spread], 'everything');
    const spare = await disks.loop('spare.img', 32 * mebibyte);
    await disks.create(main.path, spare);
    const times: number[] = [];
    const timed = async (...words: readonly string[]): Promise<void> => {
      const startMs = performance.now();
      const { exitCode, errors } = await lab.run('remove', 'disk', ...words);
      // By force a busy machine may have no time for all steps; it says so, and everything acknowledged is durable.
      const isGone = exitCode === 0 || (words.includes('--force') && /removed, but not cleanly/.test(errors));
      assert.ok(isGone, errors);
      assert.deepEqual(lab.leftovers(), []);
      times.push(performance.now() - startMs);
      assert.ok(times.at(-1)! < removalMsMax, `took ${Math.round(times.at(-1)!)} ms; ${stuckTasks()}`);
    };
    for (let round = 1; round <= rounds; round += 1) {
      await disks.within(async () => {
        const path = await attachment.attach();
        const device = await disks.open(path);
        for (const sector of own)
          await device.write(pattern(sector * sectorBytes, sectorBytes, round), sector * sectorBytes);
        await device.flush();
        const traffic = fioJob(
          path,
          60,
          '--rw=randwrite',
          '--bs=4k',
          '--iodepth=16',
          '--offset=1m',
          '--time_based',
          '--runtime=60',
        );
        await sleep(1500);
        const busy = await lab.run('remove', 'disk');
        assert.equal(busy.exitCode, 5, `somebody uses it: ${busy.errors}`);
        await timed('--force');
        const startMs = performance.now();
        const { error, write } = await traffic;
        assert.ok(performance.now() - startMs < removalMsMax, 'fio has its answers');
        assert.notEqual(error, 0, 'it was in flight');
        assert.ok(write.total_ios > 0);
      });
      await attachment.undoAll();
      await lab.mustRun('assemble', '--main', main.path, '--spare', spare);
      const held = await disks.held();
      assert.ok(
        own.every((sector) => held.has(sector)),
        'the remaps are there',
      );
      await disks.within(async () => {
        const device = await disks.open(await attachment.attach());
        const bytes = new Uint8Array(sectorBytes);
        for (const sector of own) {
          await device.read(bytes, sector * sectorBytes);
          assert.deepEqual(bytes, pattern(sector * sectorBytes, sectorBytes, round));
        }
      });
      await attachment.undoAll();
      assert.ok(held.size > own.length, 'fio met bad sectors');
      // Clean, with remaps and nobody connected.
      await timed();
      if (round < rounds) await lab.mustRun('assemble', '--main', main.path, '--spare', spare);
    }
    assert.equal(stuckTasks(), 'nothing in state D');
    const most = Math.max(...times);
    return `${2 * rounds} removals with remaps, ${rounds} of them with I/O in flight, the slowest in ${(most / 1000).toFixed(1)} s`;
  });
}
