import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FileDevice } from '../../../../src/io/file-device.ts';
import { OpenError } from '../../../../src/io/open-error.ts';
import { spreadBadSectors } from '../../../end-to-end/bad-disk.ts';
import { pattern } from '../../../end-to-end/device-lab.ts';
import { BlockLab, mebibyte, sectorBytes } from '../block-lab.ts';
import { fioJob } from '../fio-job.ts';
import { MappedDisk } from '../mapped-disk.ts';
import { TracedDisk } from '../traced-disk.ts';

const mainBytes = 64 * mebibyte;
const spareBytes = 32 * mebibyte;
/** The original took 116 s for one. */
const remapMsMax = 15_000;
/** Longer than a disk is away. */
const openAttemptsMax = 20;
const openIntervalMs = 200;
const askIntervalMs = 20;
const awayMsMax = 60_000;
const downSeconds = 1;
const upSeconds = 5;

/** Five seconds up, one second down: all that is asked then is EIO. It is up when it is made. */
async function flakey(disks: BlockLab, name: string, sizeBytes: number): Promise<MappedDisk> {
  const below = await disks.loop(`${name}.img`, sizeBytes);
  const table = `0 ${sizeBytes / sectorBytes} flakey ${below} 0 ${upSeconds} ${downSeconds}`;
  return disks.keep(MappedDisk.create(`${disks.prefix}${name}`, table));
}

/** R17: a main that is away for one second of six costs waiting: 0 errors, 0 remaps, every byte verified. */
export function flakeyTraffic(seconds: number): Promise<string> {
  return BlockLab.use(async (disks) => {
    const { attachment, lab } = disks;
    const main = await flakey(disks, 'flakey-main', mainBytes);
    await createWhileUp(disks, main.path, await disks.loop('spare.img', spareBytes));
    const device = await attachment.attach();
    const words = ['--bs=4k', '--iodepth=8', '--size=100%', '--time_based', `--runtime=${seconds}`];
    const verified = ['--rw=randwrite', '--verify=crc32c', '--verify_fatal=1', '--verify_backlog=256'];
    const job = await fioJob(device, seconds, ...words, ...verified);
    assert.equal(job.error, 0, 'no error');
    assert.ok(job.read.total_ios > 100, `only ${job.read.total_ios} blocks verified`);
    await attachment.undoAll();
    const { remap } = await disks.status();
    const { remappedGranules, unreadableSectors, goneSectors } = remap;
    assert.deepEqual([remappedGranules, unreadableSectors, goneSectors], [0, 0, 0], 'no remap, nothing lost');
    const events = await lab.mustRun('events', 'disk', '--json');
    const outages = events.split('\n').filter((line) => line.includes('"path-lost"')).length;
    const wanted = Math.floor(seconds / (upSeconds + downSeconds)) / 2;
    assert.ok(outages >= Math.min(wanted, 3), `it was away ${outages} times, or nobody noticed`);
    // Removal needs it, and may meet a moment without it.
    await main.reload(`0 ${mainBytes / sectorBytes} linear ${await belowOf(main)} 0`);
    await lab.mustRun('remove', 'disk');
    const slowest = Math.max(job.read.lat_ns.max, job.write.lat_ns.max) / 1e9;
    return (
      `${seconds} s: ${job.write.total_ios} writes, ${job.read.total_ios} blocks verified, 0 errors, 0 remaps; ` +
      `${outages} outages told, the slowest request ${slowest.toFixed(1)} s`
    );
  });
}

async function belowOf(main: MappedDisk): Promise<string> {
  return (await main.table()).split(' ')[3]!;
}

/** 116 s per remap: with both disks away one second in six, each bad sector is moved within seconds, and nothing else is. */
export function flakeyRemaps(badCount: number): Promise<string> {
  return BlockLab.use(async (disks) => {
    const { attachment, lab } = disks;
    const below = await flakey(disks, 'flakey-main', mainBytes);
    const spare = await flakey(disks, 'flakey-spare', spareBytes);
    const sectorCount = mainBytes / sectorBytes;
    const main = await disks.keep(
      TracedDisk.create(`${disks.prefix}main`, below.path, sectorCount, { isTraced: false }),
    );
    const bad = spreadBadSectors('flakey', badCount, 0, sectorCount).map(([sector]) => sector);
    await main.wearOut(bad, 'everything');
    await createWhileUp(disks, main.path, spare.path);
    const times: number[] = [];
    await disks.within(async () => {
      const [mainBelow, spareBelow] = [
        await openWhileUp(disks, below.path),
        await openWhileUp(disks, spare.path),
      ];
      const device = await disks.open(await attachment.attach());
      for (const sector of bad) {
        // Of three in a row one comes when main has just gone, one when the spare has, and one whenever.
        const away = [undefined, mainBelow, spareBelow][times.length % 3];
        if (away !== undefined) await untilAway(away);
        const startMs = performance.now();
        await device.write(pattern(sector * sectorBytes, sectorBytes, 1), sector * sectorBytes);
        times.push(performance.now() - startMs);
        assert.ok(times.at(-1)! < remapMsMax, `sector ${sector}: ${Math.round(times.at(-1)!)} ms`);
      }
      const bytes = new Uint8Array(sectorBytes);
      for (const sector of bad) {
        await device.read(bytes, sector * sectorBytes);
        assert.deepEqual(bytes, pattern(sector * sectorBytes, sectorBytes, 1));
      }
    });
    await attachment.undoAll();
    assert.deepEqual(await disks.held(), new Set(bad), 'exactly they are moved');
    assert.equal((await disks.lost()).size, 0);
    await lab.run('remove', 'disk', '--force');
    assert.ok(Math.max(...times) > 100, 'some waited for a disk');
    const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
    return `${badCount} remaps through flakey disks: ${Math.round(mean)} ms each, the slowest ${Math.round(Math.max(...times))} ms`;
  });
}

/** Opening writes out what others left in the page cache, which a disk that is away refuses. */
async function openWhileUp(disks: BlockLab, path: string): Promise<FileDevice> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await disks.open(path);
    } catch (error) {
      if (!(error instanceof OpenError) || attempt === openAttemptsMax) throw error;
      await sleep(openIntervalMs);
    }
  }
}

/** Until a read fails that must not. */
async function untilAway(disk: FileDevice): Promise<void> {
  const bytes = new Uint8Array(sectorBytes);
  const endMs = performance.now() + awayMsMax;
  while (performance.now() < endMs) {
    try {
      await disk.read(bytes, 0);
    } catch {
      return;
    }
    await sleep(askIntervalMs);
  }
  assert.fail('the disk was never away');
}

/** Creation refuses a disk that is away, in a line; the next attempt comes in its five seconds. */
async function createWhileUp(disks: BlockLab, main: string, spare: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const words = ['create', 'disk', '--main', main, '--spare', spare, '--overwrite-spare'];
    const { exitCode, errors } = await disks.lab.run(...words);
    if (exitCode === 0) return;
    assert.ok(attempt < 10, errors);
    assert.match(errors, /^dm-remap: [^\n]+\n$/, 'one line');
  }
}
