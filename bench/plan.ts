import type { Bar } from './bars.ts';
import { type Contestant, rawFile } from './contestant.ts';
import { type Remaps, startRemappedDevice } from './remapped-device.ts';
import {
  type Served,
  startLinearServer,
  startNbdkitFile,
  startNbdkitMemory,
  startNbdServer,
  startQemuNbd,
} from './servers.ts';
import { type Workload, workload, workloadName } from './workload.ts';

export interface PlannedFiles extends Served {
  /** Another file with the image's bytes; `larger`: room behind them for a million remaps that no work meets. Its path. */
  readonly makeCopy: (name: string, larger: boolean) => string;
}

/** One who may take part. */
export interface Entry {
  /** As its row is called. */
  readonly name: string;
  /** Programs without which it is left out. */
  readonly needs: readonly string[];
  /** Takes part in `npm run bench` without `--full` too. */
  readonly always: boolean;
  /** Its export is larger than the image. */
  readonly large: boolean;
  /** Cached and O_DIRECT are never compared with each other. */
  readonly direct: boolean;
  start(files: PlannedFiles): Promise<Contestant>;
}

const kib = 1024;
const remapNames = {
  none: 'dm-remap, 0 remaps',
  thousand: 'dm-remap, 1 000 remaps elsewhere',
  hundredThousand: 'dm-remap, 100 000 remaps elsewhere',
  million: 'dm-remap, 1 000 000 remaps elsewhere',
  /** 2 621 blocks of 4 KiB are a hundredth of a GiB. */
  met: 'dm-remap, 2 621 remaps, 1.0 % of the work',
  direct: 'dm-remap O_DIRECT, 0 remaps',
} as const;

function remapEntry(
  name: string,
  remaps: Remaps,
  { always = false, direct = false }: Partial<Pick<Entry, 'always' | 'direct'>> = {},
): Entry {
  const large = remaps.place === 'behind' && remaps.count > 0;
  return {
    name,
    needs: [],
    always,
    large,
    direct,
    start: (files) => {
      const device = `bench-${remaps.place}-${remaps.count}${direct ? '-direct' : ''}`;
      return startRemappedDevice({
        name: device,
        folder: files.folder,
        mainPath: files.makeCopy(`${device}.main`, large),
        imageBytes: files.imageBytes,
        cache: direct ? 'none' : 'writeback',
        remaps,
      });
    },
  };
}

function neighbour(
  name: string,
  needs: readonly string[],
  start: Entry['start'],
  { always = false, direct = false }: Partial<Pick<Entry, 'always' | 'direct'>> = {},
): Entry {
  return { name, needs, always, large: false, direct, start };
}

/** In the order of rows; ratios are those of the first. */
export const entries: readonly Entry[] = [
  remapEntry(remapNames.none, { count: 0, place: 'behind' }, { always: true }),
  remapEntry(remapNames.thousand, { count: 1000, place: 'behind' }),
  remapEntry(remapNames.hundredThousand, { count: 100_000, place: 'behind' }),
  remapEntry(remapNames.million, { count: 1_000_000, place: 'behind' }),
  remapEntry(remapNames.met, { count: 2621, place: 'spread' }, { always: true }),
  neighbour('dm-remap, linear', [], startLinearServer, { always: true }),
  neighbour('nbdkit file', ['nbdkit'], (files) => startNbdkitFile(files), { always: true }),
  neighbour('nbdkit file -t 1', ['nbdkit'], (files) => startNbdkitFile(files, 1)),
  neighbour('nbdkit memory', ['nbdkit'], startNbdkitMemory),
  neighbour('qemu-nbd threads', ['qemu-nbd'], (files) => startQemuNbd(files, 'threads', 'writeback')),
  neighbour('qemu-nbd io_uring', ['qemu-nbd'], (files) => startQemuNbd(files, 'io_uring', 'writeback'), {
    always: true,
  }),
  neighbour('nbd-server', ['nbd-server'], startNbdServer),
  neighbour('raw file', [], (files) => Promise.resolve(rawFile(files.imagePath, false)), { always: true }),
  remapEntry(remapNames.direct, { count: 0, place: 'behind' }, { direct: true }),
  neighbour('qemu-nbd io_uring O_DIRECT', ['qemu-nbd'], (files) => startQemuNbd(files, 'io_uring', 'none'), {
    direct: true,
  }),
  neighbour('qemu-nbd threads O_DIRECT', ['qemu-nbd'], (files) => startQemuNbd(files, 'threads', 'none'), {
    direct: true,
  }),
  neighbour('raw file, O_DIRECT', [], (files) => Promise.resolve(rawFile(files.imagePath, true)), {
    direct: true,
  }),
];

export interface PlannedWorkload {
  readonly workload: Workload;
  readonly always: boolean;
  readonly direct: boolean;
}

/** Reads before writes: from the first write on the images of the contestants differ. */
export const plannedWorkloads: readonly PlannedWorkload[] = [
  planned(workload('randread', 4 * kib, 32), 'always'),
  planned(workload('randread', 4 * kib, 1), 'always'),
  planned(workload('randread', 4 * kib, 8)),
  planned(workload('randread', 4 * kib, 128)),
  planned(workload('randread', 4 * kib, 32, { connections: 2 })),
  planned(workload('randread', 4 * kib, 32, { connections: 4 }), 'always'),
  planned(workload('read', 64 * kib, 16)),
  planned(workload('read', 256 * kib, 16), 'always'),
  planned(workload('read', 64 * kib, 64, { client: 'nbdcopy' })),
  planned(workload('read', 256 * kib, 64, { client: 'nbdcopy' })),
  planned(workload('randwrite', 4 * kib, 32), 'always'),
  planned(workload('randwrite', 4 * kib, 1)),
  planned(workload('randwrite', 4 * kib, 8)),
  planned(workload('randwrite', 4 * kib, 128)),
  planned(workload('randwrite', 4 * kib, 32, { connections: 2 })),
  planned(workload('randwrite', 4 * kib, 32, { connections: 4 })),
  planned(workload('randrw', 4 * kib, 1)),
  planned(workload('randrw', 4 * kib, 8)),
  planned(workload('randrw', 4 * kib, 32)),
  planned(workload('randrw', 4 * kib, 128)),
  planned(workload('write', 64 * kib, 16)),
  planned(workload('write', 256 * kib, 16), 'always'),
  planned(workload('write', 64 * kib, 64, { client: 'nbdcopy' })),
  planned(workload('write', 256 * kib, 64, { client: 'nbdcopy' })),
  planned(workload('randwrite', 4 * kib, 1, { flushEach: true })),
  planned(workload('randread', 4 * kib, 32), 'direct'),
  planned(workload('randwrite', 4 * kib, 32), 'direct'),
];

function planned(work: Workload, kind: 'always' | 'full' | 'direct' = 'full'): PlannedWorkload {
  return { workload: work, always: kind === 'always', direct: kind === 'direct' };
}

const cServers = ['nbdkit file', 'qemu-nbd io_uring', 'qemu-nbd threads'];
const directServers = ['qemu-nbd io_uring O_DIRECT', 'qemu-nbd threads O_DIRECT'];
const rateBar = (work: Workload, least: number, others = cServers, one: string = remapNames.none): Bar => ({
  workload: workloadName(work),
  one,
  others,
  figure: 'rate',
  least,
});
const processorBar = (one: string, other: string, most: number): Bar => ({
  workload: workloadName(workload('randread', 4 * kib, 32)),
  one,
  others: [other],
  figure: 'processor time',
  most,
});

/** What we mean to reach. O_DIRECT rows have the workload's name and other contestants. */
export const bars: readonly Bar[] = [
  rateBar(workload('randread', 4 * kib, 32), 1.6),
  rateBar(workload('randread', 4 * kib, 32, { connections: 4 }), 1.3),
  rateBar(workload('randread', 4 * kib, 1), 1),
  rateBar(workload('randwrite', 4 * kib, 32), 1.15),
  {
    ...rateBar(workload('randwrite', 4 * kib, 32), 1, directServers, remapNames.direct),
    workload: directName(workload('randwrite', 4 * kib, 32)),
  },
  rateBar(workload('read', 256 * kib, 16), 1.1),
  rateBar(workload('write', 256 * kib, 16), 1.1),
  processorBar(remapNames.none, 'nbdkit file', 0.65),
  processorBar(remapNames.none, 'dm-remap, linear', 1.03),
  processorBar(remapNames.million, 'dm-remap, linear', 1.05),
  processorBar(remapNames.met, 'dm-remap, linear', 1.15),
];

/** How a section of O_DIRECT rows is called. */
export function directName(work: Workload): string {
  return `${workloadName(work)}, O_DIRECT`;
}
