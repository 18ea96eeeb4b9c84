import type { Clock } from '../../block/clock.ts';
import {
  type DiskIdentity,
  identifyDevice,
  identityFromPairs,
  sameIdentity,
} from '../../io/disk-identity.ts';
import { SpareIo } from '../../metadata/spare-io.ts';
import { scanSuperblocks } from '../../metadata/superblock-scan.ts';
import { uuidText } from '../../metadata/uuid.ts';
import { isWorldError } from '../setup-failure.ts';
import { Disks } from '../stack/disks.ts';
import { inodeOf } from '../stack/inode.ts';
import { requestMemory } from '../stack/request-memory.ts';
import { blockDevicePaths } from './machine-disks.ts';
import { spareDifference } from './spare-identity.ts';

/** One disk may take this long; a hung one is told of and left behind. */
export const scanDeadlineMs = 5_000;
const closeDeadlineMs = 1_000;

/**
 * - `clean`        a spare whose device was removed
 * - `not-closed`   a spare whose device is served now, or was killed
 * - `other-spare`  one of several spares of a device, beside the one that has its table; found by that one
 * - `damaged`      superblocks of ours, none of them whole
 * - `newer`        written by a newer dm-remap
 * - `no-spare`     nothing of ours
 * - `failed`       could not be opened or read, or did not answer in time
 */
export type ScanState = 'clean' | 'not-closed' | 'other-spare' | 'damaged' | 'newer' | 'no-spare' | 'failed';

export interface ScanRow {
  readonly path: string;
  readonly state: ScanState;
  /** Empty where no superblock is whole. */
  readonly name: string;
  readonly uuid: string;
  /** Where main was last seen. */
  readonly mainPath: string;
  /**
   * `found` by WWN, serial or inode; `several` disks name themselves so; `unproven`: something is in its place; `missing`;
   * `elsewhere`: an NBD export, or a table over some disks, which a scan does not open. Empty where nothing is recorded.
   */
  readonly main: 'found' | 'several' | 'unproven' | 'missing' | 'elsewhere' | '';
  /** Where it was found; of `several` all of them. */
  readonly mainFoundPath: string;
  /** M12: of a copy of a spare, made with dd or restored from a backup: whose it is. Else empty. */
  readonly copyOf: string;
  /** The same for every name of one disk or file, until the next boot. */
  readonly key: string;
  /** Of `failed`: why. */
  readonly detail: string;
}

const noRow = {
  name: '',
  uuid: '',
  mainPath: '',
  main: '',
  mainFoundPath: '',
  copyOf: '',
  key: '',
  detail: '',
} as const;

/**
 * Looks for spares on these disks and images, or on all block devices of the machine, all at the same time, in use or not.
 * Writes nothing. In the order asked; of the whole machine only what is or may be a spare.
 */
export async function scanSpares(paths: readonly string[]): Promise<readonly ScanRow[]> {
  const scan = new SpareScan();
  try {
    return await scan.look(paths);
  } finally {
    await scan.close();
  }
}

/** `scanSpares` for whoever looks again and again: a disk that hangs costs him one request and its memory, not one each time. */
export class SpareScan {
  // Superblocks are read into the reserve of the metadata: clients there are none.
  readonly #disks: Disks = new Disks({ requestMemoryBytes: requestMemory.minBytes });
  readonly #looks: BoundedLooks<ScanRow> = new BoundedLooks(this.#disks.plane.clock, scanDeadlineMs);

  /** As `scanSpares`. */
  async look(paths: readonly string[]): Promise<readonly ScanRow[]> {
    const machine = await blockDevicePaths();
    const { clock } = this.#disks.plane;
    const known = (
      await Promise.all(machine.map((path) => before(clock, identifyDevice(path), path).catch(ignored)))
    ).filter((identity) => identity !== undefined);
    const asked = paths.length > 0 ? paths : machine;
    const rows = await Promise.all(asked.map((path) => this.#lookAt(path, known)));
    return paths.length > 0 ? rows : rows.filter(({ state }) => state !== 'no-spare');
  }

  async close(): Promise<void> {
    await before(this.#disks.plane.clock, this.#disks.close(), 'closing', closeDeadlineMs).catch(ignored);
  }

  async #lookAt(path: string, known: readonly DiskIdentity[]): Promise<ScanRow> {
    try {
      return await this.#looks.run(path, () => look(this.#disks, path, known));
    } catch (error) {
      if (!isWorldError(error)) throw error;
      const detail = error instanceof Error ? error.message : String(error);
      return { ...noRow, path, state: 'failed', detail };
    }
  }
}

/** Looks that have a deadline, one at a time for each name: one that has not ended is waited for again, not begun again. */
export class BoundedLooks<T> {
  readonly #clock: Clock;
  readonly #deadlineMs: number;
  readonly #running = new Map<string, Promise<T>>();

  constructor(clock: Clock, deadlineMs: number) {
    this.#clock = clock;
    this.#deadlineMs = deadlineMs;
  }

  /** Rejects when the look takes too long. */
  run(name: string, look: () => Promise<T>): Promise<T> {
    let running = this.#running.get(name);
    if (running === undefined) {
      running = look().finally(() => this.#running.delete(name));
      this.#running.set(name, running);
    }
    return before(this.#clock, running, name, this.#deadlineMs);
  }
}

function ignored(error: unknown): undefined {
  if (!isWorldError(error)) throw error;
  return undefined;
}

/** Rejects when `work` takes too long; what it does later matters to nobody. */
function before<T>(
  clock: Clock,
  work: Promise<T>,
  what: string,
  deadlineMs: number = scanDeadlineMs,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = (): void => reject(new Error(`${what}: no answer within ${deadlineMs / 1000} s`));
    const timer = clock.schedule(deadlineMs, late);
    work.then(resolve, reject).finally(() => timer.cancel());
  });
}

async function look(disks: Disks, path: string, known: readonly DiskIdentity[]): Promise<ScanRow> {
  const disk = await disks.open(path, 'none', 'look');
  try {
    const scan = await scanSuperblocks(new SpareIo(disk.device, disks.plane.arena, disks.plane.clock));
    const [first, ...others] = scan.found;
    if (first === undefined && scan.member !== undefined) {
      const { key } = disk.identity;
      return { ...noRow, path, state: 'other-spare', name: scan.member.deviceName, key };
    }
    if (first === undefined) {
      const newer = scan.newerVersion !== undefined || scan.unknownFeatures !== undefined;
      const state = newer ? 'newer' : scan.damagedPlaces.size > 0 ? 'damaged' : 'no-spare';
      return { ...noRow, path, state };
    }
    const newest = others.reduce(
      (best, other) => (other.superblock.shared.revision > best.superblock.shared.revision ? other : best),
      first,
    );
    const { shared } = newest.superblock;
    const { properties } = shared.properties;
    return {
      ...noRow,
      path,
      state: shared.cleanlyClosed ? 'clean' : 'not-closed',
      name: properties.name,
      uuid: uuidText(shared.uuid),
      copyOf: spareDifference(properties.spareIdentity, disk) ?? '',
      key: disk.identity.key,
      ...(await findMain(properties.mainIdentity, known)),
    };
  } finally {
    await disk.device.close();
  }
}

async function findMain(
  recorded: Readonly<Record<string, string>>,
  known: readonly DiskIdentity[],
): Promise<Pick<ScanRow, 'mainPath' | 'main' | 'mainFoundPath'>> {
  const mainPath = recorded['path'] ?? '';
  if (recorded['kind'] === undefined) return { mainPath, main: '', mainFoundPath: '' };
  const before = identityFromPairs(recorded);
  if (recorded['kind'] === 'nbd' || recorded['kind'] === 'table')
    return { mainPath, main: 'elsewhere', mainFoundPath: '' };
  const same = known.filter((identity) => sameIdentity(before, identity).verdict === 'same');
  if (same.length > 1)
    return { mainPath, main: 'several', mainFoundPath: same.map(({ path }) => path).join(' and ') };
  if (same[0] !== undefined) return { mainPath, main: 'found', mainFoundPath: same[0].path };
  const there = await identifyDevice(mainPath).catch(ignored);
  // What names itself as another disk is not doubtful: it has taken the name of one that is away.
  if (there === undefined || sameIdentity(before, there).verdict === 'different')
    return { mainPath, main: 'missing', mainFoundPath: '' };
  const inode = inodeOf(before.key);
  const proven = recorded['kind'] === 'file' && inode !== '' && inode === inodeOf(there.key);
  return { mainPath, main: proven ? 'found' : 'unproven', mainFoundPath: mainPath };
}
