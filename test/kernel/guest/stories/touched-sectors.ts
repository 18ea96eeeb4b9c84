import assert from 'node:assert/strict';
import { spreadBadSectors } from '../../../end-to-end/bad-disk.ts';
import { assertTouchedAreKnown, BlockLab, mebibyte, sectorBytes } from '../block-lab.ts';
import { fioJob } from '../fio-job.ts';
import { type Touch, TracedDisk } from '../traced-disk.ts';

const mainBytes = 64 * mebibyte;
const fioSecondsMax = 300;

export interface TouchedSectorsOptions {
  readonly badCount: number;
  /** What is read, and what is read and written together behind that. */
  readonly mebibytes: number;
}

/** I17 over dm-error: what the kernel says was touched is remapped or lost, and nothing else; before and after SIGKILL. */
export function touchedSectors({ badCount, mebibytes }: TouchedSectorsOptions): Promise<string> {
  return BlockLab.use(async (disks) => {
    const { attachment, lab } = disks;
    const sectorCount = mainBytes / sectorBytes;
    const main = await disks.keep(
      TracedDisk.create(`${disks.prefix}main`, await disks.loop('main.img', mainBytes), sectorCount),
    );
    const bad = spreadBadSectors('touched', badCount, 0, sectorCount).map(([sector]) => sector);
    await main.wearOut(bad, 'everything');
    const spare = await disks.loop('spare.img', 48 * mebibyte);
    await disks.create(main.path, spare);
    // Creation looks for signatures: what it could not read is nobody's request.
    const atCreation = await main.touches();
    const device = await attachment.attach();
    // Reads of bad sectors are EIO; fio goes on behind them. A write that fails ends it.
    const words = [
      '--bsrange=512-8k',
      '--iodepth=8',
      // Not for a time: how much is touched must not depend on the machine.
      `--io_size=${mebibytes}m`,
      '--randrepeat=1',
    ];
    const readsOnly = await fioJob(
      device,
      fioSecondsMax,
      '--rw=randread',
      ...words,
      '--size=16m',
      '--continue_on_error=read',
    );
    const mixed = await fioJob(
      device,
      fioSecondsMax,
      '--rw=randrw',
      ...words,
      '--offset=12m',
      '--size=36m',
      '--continue_on_error=read',
    );
    assert.equal(mixed.error === 0 || mixed.error === 5, true, `fio: error ${mixed.error}`);
    assert.ok(mixed.write.total_ios > 100, `only ${mixed.write.total_ios} writes`);
    await attachment.undoAll();

    const [held, lost] = [await disks.held(), await disks.lost()];
    const touched = assertTouchedAreKnown(touchedSince(atCreation, await main.touches()), held, lost);
    assert.ok(
      held.size > badCount / 20 && lost.size > badCount / 20,
      `${held.size} remapped, ${lost.size} lost`,
    );

    await lab.kill('disk');
    await lab.mustRun('assemble', '--main', main.path, '--spare', spare);
    assert.deepEqual(await disks.held(), held, 'after SIGKILL');
    await lab.mustRun('remove', 'disk');
    return (
      `${readsOnly.read.total_ios + mixed.read.total_ios} reads, ${mixed.write.total_ios} writes over ${badCount} dead ` +
      `sectors: ${touched} touched = ${held.size} remapped + ${lost.size} lost`
    );
  });
}

function touchedSince(
  before: ReadonlyMap<number, Touch>,
  now: ReadonlyMap<number, Touch>,
): ReadonlyMap<number, Touch> {
  return new Map(
    [...now].map(([sector, { reads, writes }]) => {
      const was = before.get(sector)!;
      return [sector, { reads: reads - was.reads, writes: writes - was.writes }];
    }),
  );
}
