import type { CacheMode } from '../serve-options.ts';
import { SetupError } from '../setup-error.ts';
import { describeOpen } from '../spare/candidate.ts';
import { createRefusal } from '../spare/create-safety.ts';
import { allocateSpareFile } from '../spare/spare-file.ts';
import { refuseUsed } from './disk-in-use.ts';
import type { Disks, OpenedDisk, OpenedMain } from './disks.ts';
import { refuseWithoutFlush } from './nbd-disk.ts';

export interface NewSpareQuestion {
  readonly disks: Disks;
  readonly cache: CacheMode;
  readonly main: OpenedMain;
  readonly home: OpenedDisk;
  readonly granuleBytes: number;
  /** Also a disk that carries something. */
  readonly overwrite: boolean;
}

/** Opens a disk that is to become one more spare, after every check that needs no writing. Throws `SetupError` or `OpenError`. */
export async function openNewSpare(path: string, question: NewSpareQuestion): Promise<OpenedDisk> {
  const { disks, cache, main, overwrite } = question;
  const disk = await disks.open(path, cache);
  try {
    refuseWithoutFlush(disk);
    await refuseUsed(disk, 'spare');
    refuseShape(disk, question);
    // M17, as `create` would. That main is in use is known: by us.
    const { clock } = disks.plane;
    const mainFacts = { ...(await describeOpen(main.path, main, clock)), uses: [] };
    const facts = await describeOpen(path, disk, clock);
    const refusal = createRefusal(mainFacts, facts, { overwriteSpare: overwrite });
    if (refusal !== undefined) throw refusal;
    await allocateSpareFile(disk);
    return disk;
  } catch (error) {
    await disk.device.close();
    throw error;
  }
}

/** A slot is whole blocks of the disk, and reading back must prove as much as it does on the home (R9, R24). */
function refuseShape({ path, device, access }: OpenedDisk, { home, granuleBytes }: NewSpareQuestion): void {
  const { logicalBlockBytes, physicalBlockBytes } = device.geometry;
  const blockBytes = Math.max(logicalBlockBytes, physicalBlockBytes);
  if (blockBytes > granuleBytes)
    throw new SetupError('refused', `${path}: has blocks of ${blockBytes} bytes, a slot has ${granuleBytes}`);
  if (access === 'buffered' && home.access !== 'buffered') {
    const why = 'its file system cannot do direct I/O, and that of the first spare can: put it elsewhere';
    throw new SetupError('refused', `${path}: ${why}`);
  }
}
