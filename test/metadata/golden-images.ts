import type { MappingRecord } from '../../src/metadata/mapping-state.ts';
import { noSlot, StateFlags } from '../../src/metadata/mapping-state.ts';
import {
  type DeviceFacts,
  type HostIdentity,
  type InUseMark,
  MetadataError,
} from '../../src/metadata/metadata-store.ts';
import { commit, granules, type OpenDevice, type TestSpare, withSpare } from './metadata-fixture.ts';

/** What an image must open to, as JSON. */
export interface GoldenExpectation {
  readonly about: string;
  /** As the program that made the image knew them. */
  readonly facts: Omit<DeviceFacts, 'fresh' | 'freshSizeBytes' | 'members'> & Partial<DeviceFacts>;
  readonly records: readonly MappingRecord[];
  readonly replicas: readonly string[];
  /** The in-use mark of a session that did not end with close. */
  readonly inUse?: InUseMark;
}

export interface GoldenImage {
  readonly name: string;
  readonly about: string;
  readonly make: (spare: TestSpare) => Promise<void>;
  /** Created with `fresh`. */
  readonly fresh?: boolean;
}

const someRecords: readonly MappingRecord[] = [
  granules(0, 300),
  granules(17, 310, { granuleCount: 4, held: 0x0f, flags: StateFlags.unverified, cause: 3 }),
  granules(100, noSlot, { unreadable: 0x80, cause: 2 }),
  granules(16_383, noSlot, { unreadable: 0x01, gone: 0xfe, cause: 5 }),
  { type: 'retired-slots', slot: 340, slotCount: 2 },
];

async function fill(device: OpenDevice, count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    await commit(device, [granules(1000 + 2 * index, 200 + index)]);
  }
}

/** The states an image of a release should show: extend the list, never change an entry of a released format. */
export const goldenImages: readonly GoldenImage[] = [
  {
    name: 'created',
    about: 'created, never used',
    make: (spare) => spare.create(),
  },
  {
    name: 'closed',
    about: 'records of every kind, closed cleanly',
    make: async (spare) => {
      const device = await spare.createSettled();
      await commit(device, someRecords);
      await device.store.close();
    },
  },
  {
    name: 'crashed',
    about: 'a checkpoint and both journals, after a power cut',
    make: async (spare) => {
      const device = await spare.createSettled();
      await commit(device, someRecords);
      await fill(device, 21);
      spare.powerCut();
    },
  },
  {
    name: 'several-spares',
    about: 'another spare beside this one, with a block on it; after a power cut',
    make: async (spare) => {
      const device = await spare.createSettled();
      const { spareSizeBytes, granuleBytes } = device.opened.layout;
      const mib = 1024 * 1024;
      const baseBytes = Math.ceil(spareSizeBytes / mib) * mib;
      await device.store.updateMembers(() => ({
        rowBytes: baseBytes + 8 * mib,
        members: [
          {
            ...{ uuid: '01'.repeat(16), epoch: '64'.repeat(8), baseBytes, sizeBytes: 8 * mib },
            ...{ closed: false, leaving: true, identity: { kind: 'file', path: '/srv/other.img' } },
          },
        ],
      }));
      await commit(device, [...someRecords, granules(5, baseBytes / granuleBytes + 40)]);
      spare.powerCut();
    },
  },
  {
    name: 'replica-lost',
    about: 'one replica was taken out of the set',
    make: async (spare) => {
      const device = await spare.createSettled();
      await commit(device, someRecords);
      for (const offset of device.opened.layout.replicas[0]!.journalOffsets) {
        spare.disk.faults.addBadSectors(offset / 512, device.opened.layout.journalBlocks * 8, {
          on: 'write',
        });
      }
      await fill(device, 3);
      spare.powerCut();
    },
  },
  {
    name: 'given-up',
    about: 'a commit in doubt was settled by a generation without it',
    make: async (spare) => {
      const device = await spare.createSettled();
      await commit(device, someRecords);
      spare.disk.faults.failFlush('once');
      const doubtful = [granules(5000, 399)];
      await device.store.commit(doubtful, { dataFlush: false }).catch((error: unknown) => {
        if (!(error instanceof MetadataError)) throw error;
      });
      await fill(device, 2);
      spare.powerCut();
    },
  },
  {
    name: 'fresh',
    about: 'a fresh main with ended regions in checkpoint and journal, after a power cut',
    fresh: true,
    make: async (spare) => {
      const device = await spare.createSettled();
      await commit(device, someRecords);
      await commit(device, [{ type: 'fresh-ended', region: 3, regionCount: 2 }]);
      await fill(device, 12);
      await commit(device, [granules(20, 330), { type: 'fresh-ended', region: 63, regionCount: 1 }]);
      spare.powerCut();
    },
  },
  {
    name: 'in-use',
    about: 'marked as in use, with three beats, and how far the journal had reached in its superblocks',
    make: async (spare) => {
      const device = await spare.createSettled({ host: goldenHost });
      await commit(device, someRecords);
      await device.store.updateProperties({ policies: { 'on-lost': 'zero' } });
      for (let beat = 0; beat < 2; beat += 1) await device.store.heartbeat();
      spare.kill();
    },
  },
];

export const goldenHost: HostIdentity = {
  machineId: '0123456789abcdef0123456789abcdef',
  bootId: 'fedcba9876543210fedcba9876543210',
  pid: 4711,
  startTicks: 123_456_789_012,
  hostName: 'höst',
  isRunning: () => false,
};

export interface MadeImage {
  readonly image: Uint8Array;
  readonly expectation: GoldenExpectation;
}

export async function makeImage({ name, about, make, fresh = false }: GoldenImage): Promise<MadeImage> {
  let made: MadeImage | undefined;
  await withSpare({ seed: `golden ${name}`, fresh }, async (spare) => {
    await make(spare);
    const opened = await spare.open();
    made = {
      image: spare.disk.cachedImage(),
      expectation: {
        about,
        facts: opened.facts,
        records: opened.records,
        replicas: opened.report.replicas.map(({ condition }) => condition),
        ...(opened.report.inUse === undefined ? {} : { inUse: opened.report.inUse }),
      },
    };
  });
  return made!;
}
