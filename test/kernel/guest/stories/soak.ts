import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { spreadBadSectors } from '../../../end-to-end/bad-disk.ts';
import { mustRunTool } from '../../../end-to-end/foreign-tool.ts';
import { BlockLab, mebibyte, sectorBytes } from '../block-lab.ts';
import { fioJob } from '../fio-job.ts';
import { TracedDisk } from '../traced-disk.ts';

const mainBytes = 64 * mebibyte;
const badCount = 300;
const settleSeconds = 5;
/** The original left 28 GB of request structures behind in the kernel's memory. */
const kernelGrowthBytesMax = 32 * mebibyte;
/** What is compiled and collected comes and goes. */
const residentGrowthBytesMax = 48 * mebibyte;
/** Lines of the log and of the events together. The original's log killed the machine. */
const linesMax = 300;

/** I10, I11: traffic over bad sectors, every second request an error, leaves memory and logs as they are. */
export function soak(seconds: number): Promise<string> {
  return BlockLab.use(async (disks) => {
    const { attachment, lab } = disks;
    const sectorCount = mainBytes / sectorBytes;
    const main = await disks.keep(
      TracedDisk.create(`${disks.prefix}main`, await disks.loop('main.img', mainBytes), sectorCount, {
        isTraced: false,
      }),
    );
    // Two mebibytes with a bad sector in most of the pages: what is read there fails, over and over.
    const bad = spreadBadSectors('soak', badCount, 0, (2 * mebibyte) / sectorBytes);
    await main.wearOut(
      bad.map(([sector]) => sector),
      'everything',
    );
    await disks.create(main.path, await disks.loop('spare.img', 32 * mebibyte));
    const device = await attachment.attach();
    const traffic = (part: string, runSeconds: number) =>
      fioJob(
        device,
        runSeconds,
        '--bs=4k',
        '--iodepth=16',
        '--time_based',
        `--runtime=${runSeconds}`,
        part,
        '--continue_on_error=all',
        '--rw=randrw',
        '--rwmixread=80',
      );
    const reads = (runSeconds: number) =>
      fioJob(
        device,
        runSeconds,
        '--bs=4k',
        '--iodepth=16',
        '--time_based',
        `--runtime=${runSeconds}`,
        '--size=2m',
        '--continue_on_error=all',
        '--rw=randread',
      );
    await reads(settleSeconds);
    await traffic('--offset=1m', settleSeconds);
    const { pid } = lab.identity('disk');
    const before = {
      kernel: await kernelBytes(),
      resident: residentBytes(pid),
      lines: await linesOf(lab.runtime, lab.state),
    };
    const [errors, good] = [await reads(seconds / 2), await traffic('--offset=1m', seconds / 2)];
    const after = {
      kernel: await kernelBytes(),
      resident: residentBytes(pid),
      lines: await linesOf(lab.runtime, lab.state),
    };
    await attachment.undoAll();
    assert.ok(errors.total_err > 100, `only ${errors.total_err} errors`);
    assert.ok(good.write.total_ios > 100, `only ${good.write.total_ios} writes`);
    const [kernelGrowth, residentGrowth] = [after.kernel - before.kernel, after.resident - before.resident];
    const mebibytes = (bytes: number): string => `${(bytes / mebibyte).toFixed(1)} MiB`;
    const seen =
      `${errors.total_err} failed requests, ${good.read.total_ios + good.write.total_ios} others: ` +
      `${after.lines} lines in all, the kernel's memory grew by ${mebibytes(kernelGrowth)}, the process by ${mebibytes(residentGrowth)} to ${mebibytes(after.resident)}`;
    assert.ok(kernelGrowth < kernelGrowthBytesMax && residentGrowth < residentGrowthBytesMax, seen);
    assert.ok(after.lines < linesMax, seen);
    await lab.mustRun('remove', 'disk');
    return seen;
  });
}

/** What the kernel has taken for itself, without caches that it can give back. */
async function kernelBytes(): Promise<number> {
  await mustRunTool('sync');
  await mustRunTool('sysctl', '-q', '-w', 'vm.drop_caches=3');
  const slab = /^Slab:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'latin1'));
  return Number(slab![1]) * 1024;
}

function residentBytes(pid: number): number {
  const resident = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
  return Number(resident![1]) * 1024;
}

/** Of all logs and event files of the device. */
async function linesOf(...folders: readonly string[]): Promise<number> {
  let lines = 0;
  for (const folder of folders) {
    if (!existsSync(folder)) continue;
    for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
      const path = join(folder, name);
      if (!/\.(?:jsonl|log)(?:\.\d)?$/.test(name) || !statSync(path).isFile()) continue;
      lines += readFileSync(path, 'latin1').split('\n').length - 1;
    }
  }
  return lines;
}
