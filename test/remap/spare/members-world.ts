import assert from 'node:assert/strict';
import { PagedArena } from '../../../src/block/buffer-arena.ts';
import { DeviceError } from '../../../src/block/device-error.ts';
import { RecordedState } from '../../../src/device/host/recorded-state.ts';
import { emptySpare, emptySuperblocks } from '../../../src/metadata/empty-spare.ts';
import { MemberDisk } from '../../../src/metadata/member-disk.ts';
import type { MemberEntry } from '../../../src/metadata/member-table.ts';
import { MetadataStore, type OpenedMetadata } from '../../../src/metadata/metadata-store.ts';
import { openRemapDevice } from '../../../src/remap/open-remap.ts';
import type { RemapDevice } from '../../../src/remap/remap-device.ts';
import { LeavableDevice } from '../../../src/remap/spare/leavable-device.ts';
import type { LeaveChoices } from '../../../src/remap/spare/leave-spare.ts';
import { ReplaceableSpare } from '../../../src/remap/spare/replaceable-spare.ts';
import type { FoundMember, SpareMember } from '../../../src/remap/spare/spare-members.ts';
import type { MigrationOutcome } from '../../../src/remap/spare/spare-migration.ts';
import type { ReplacementOutcome } from '../../../src/remap/spare/spare-replacement.ts';
import { SeededRandom } from '../../../src/simulator/seeded-random.ts';
import { SimulatedDisk } from '../../../src/simulator/simulated-disk.ts';
import { VirtualClock } from '../../../src/simulator/virtual-clock.ts';
import { patternOf } from '../remap-stack.ts';

const mainBytes = 2 << 20;
const homeBytes = 4 << 20;
export const memberBytes: number = 4 << 20;
const granuleSectors = 8;
/** Granules that main does not take: what clients write there lives on a spare. */
export const badGranules: readonly number[] = Array.from({ length: 40 }, (_, index) => 3 * index + 1);
export const goodGranules: readonly number[] = [0, 2, 200];
const clients = 3;

export type DiskName = 'main' | 'home' | 'a' | 'b' | 'next';

interface GranuleModel {
  acknowledged: number;
  /** Acknowledged and flushed: no version below it may come back. */
  floor: number;
  issued: number;
}

export interface OpenedWorld {
  readonly metadata: OpenedMetadata;
  readonly device: RemapDevice;
  readonly spare: ReplaceableSpare;
  /** Why a spare that the home names was not taken, by its place in the list. */
  readonly refused: readonly (string | undefined)[];
}

export const nobody = { host: undefined, takeover: false } as const;

/** One device with several spares, clients that write, and a power that goes at one operation of a disk. */
export class MembersWorld {
  readonly random: SeededRandom;
  readonly clock: VirtualClock;
  readonly disks: ReadonlyMap<DiskName, SimulatedDisk>;
  readonly granules: Map<number, GranuleModel> = new Map();
  operations = 0;
  cutAt: number = Number.POSITIVE_INFINITY;
  isCut = false;
  /** Clients stop by themselves. */
  ended = false;
  #versions = 0;

  constructor(seed: string) {
    this.random = new SeededRandom(seed);
    this.clock = new VirtualClock(this.random.fork('clock'));
    const disk = (name: DiskName, sizeBytes: number): [DiskName, SimulatedDisk] => [
      name,
      new SimulatedDisk({
        name,
        sizeBytes,
        latencyMinMs: 0.1,
        latencyMaxMs: 1,
        physicalBlockBytes: 4096,
        clock: this.clock,
        random: this.random,
        onOperation: () => this.#onOperation(),
      }),
    ];
    this.disks = new Map([
      disk('main', mainBytes),
      disk('home', homeBytes),
      disk('a', memberBytes),
      disk('b', memberBytes),
      disk('next', homeBytes),
    ]);
    for (const granule of badGranules) {
      this.disk('main').faults.addBadSectors(granule * granuleSectors, granuleSectors, { on: 'both' });
    }
    for (const granule of [...badGranules, ...goodGranules]) {
      this.granules.set(granule, { acknowledged: 0, floor: 0, issued: 0 });
    }
  }

  disk(name: DiskName): SimulatedDisk {
    const disk = this.disks.get(name);
    assert.ok(disk !== undefined);
    return disk;
  }

  async create(): Promise<void> {
    const parts = { ...this.surroundings(), spare: this.disk('home').open() };
    await this.clock.run(
      MetadataStore.create(parts, {
        mainSizeBytes: mainBytes,
        logicalBlockBytes: 512,
        granuleBytes: 4096,
        properties: { name: 'disk', mainIdentity: {}, spareIdentity: { disk: 'home' }, policies: {} },
        layout: { lostRangesMax: 128, journalBytes: 8 * 4096, slotsMin: 64, memberSlots: 2000 },
      }),
    );
  }

  /** With the disks that `present` names, found by what the home knows of them. */
  async open(
    present: readonly DiskName[] = ['a', 'b'],
    home: DiskName = 'home',
    wrap: (disk: MemberDisk) => MemberDisk = (disk) => disk,
  ): Promise<OpenedWorld> {
    const surroundings = this.surroundings();
    const { arena } = surroundings;
    const spare = new ReplaceableSpare(new LeavableDevice(this.disk(home).open(), { arena }));
    const metadata = await this.clock.run(MetadataStore.open({ ...surroundings, spare }));
    const refused: (string | undefined)[] = [];
    const found: FoundMember[] = [];
    for (const entry of metadata.facts.members) {
      const name = entry.identity['disk'];
      const isThere = (name === 'a' || name === 'b') && present.includes(name);
      const disk = isThere ? wrap(this.memberDisk(metadata, name)) : undefined;
      const trouble = await (disk === undefined ? undefined : this.clock.run(disk.troubleAs(entry)));
      refused.push(trouble);
      found.push({ entry, disk: trouble === undefined ? disk : undefined });
    }
    const device = await this.clock.run(
      openRemapDevice({
        ...surroundings,
        main: this.disk('main').open(),
        spare,
        metadata,
        members: { found, random: surroundings.random },
      }),
    );
    return { metadata, device, refused, spare };
  }

  memberDisk(metadata: OpenedMetadata, name: DiskName): MemberDisk {
    const owner = { uuid: metadata.store.uuid, deviceName: 'disk' };
    return new MemberDisk({ ...this.surroundings(), spare: this.disk(name).open() }, owner);
  }

  add({ device }: OpenedWorld, name: DiskName): Promise<SpareMember> {
    assert.ok(device.members !== undefined);
    return device.members.add({ disk: this.disk(name).open(), identity: { disk: name }, taker: nobody });
  }

  memberOf({ device }: OpenedWorld, name: DiskName): SpareMember {
    const member = device.members?.all.find(({ entry }) => entry.identity['disk'] === name);
    assert.ok(member !== undefined, `${name} is a spare`);
    return member;
  }

  /** As the verb does it: leaving is durable, everything moves, the home forgets it, its superblocks go. */
  async remove(
    opened: OpenedWorld,
    name: DiskName,
    choices: LeaveChoices = { giveUp: false, isDead: false },
  ): Promise<MigrationOutcome> {
    const { device } = opened;
    const member = this.memberOf(opened, name);
    await device.members!.beginLeaving(member);
    const outcome = await device.spareMigration(member, choices)!.run();
    if (outcome.failure === undefined) await device.members!.remove(member.unit.place);
    return outcome;
  }

  /** A session of a tool, which knows nothing of remapping: every record is kept. */
  async settleAsTool(): Promise<void> {
    const spare = this.disk('home').open();
    await this.clock.run(
      MetadataStore.open({ ...this.surroundings(), spare }).then(async ({ store, records }) => {
        await store.settle(new RecordedState(records));
        await store.close();
      }),
    );
  }

  /** Another disk in place of the home. */
  replaceHome({ metadata, device, spare }: OpenedWorld, giveUp: boolean): Promise<ReplacementOutcome> {
    const { arena, clock, random } = this.surroundings();
    const { layout, store } = metadata;
    const run = device.spareReplacement({
      store,
      spare,
      target: this.disk('next').open(),
      identities: { before: { disk: 'home' }, after: { disk: 'next' } },
      giveUp,
      prepare: async (target) => {
        await emptySpare({ spare: target, arena, clock, random }, layout, nobody);
      },
      disown: (disk) => emptySuperblocks({ spare: disk, arena, clock, random }, layout),
      noteSession: () => Promise.resolve(),
    });
    return run.run();
  }

  surroundings(): { arena: PagedArena; clock: VirtualClock; random: SeededRandom } {
    const memory = new ArrayBuffer(2 << 20);
    const arena = new PagedArena(memory, { remapBytes: 256 * 1024, metadataBytes: 512 * 1024, poison: true });
    return { arena, clock: this.clock, random: this.random.fork('metadata') };
  }

  /** Every granule once, acknowledged and flushed. */
  async fill(device: RemapDevice): Promise<void> {
    for (const granule of this.granules.keys()) await this.writeGranule(device, granule);
    await this.flush(device);
  }

  /** Until the power goes. */
  async write(device: RemapDevice, client: number): Promise<void> {
    const own = [...this.granules.keys()].filter((_, index) => index % clients === client);
    while (!this.isCut && !this.ended) {
      if (this.random.below(12) === 0) await this.flush(device);
      else await this.writeGranule(device, this.random.pick(own));
    }
  }

  async writeGranule(device: RemapDevice, granule: number): Promise<void> {
    this.#versions += 1;
    const version = this.#versions;
    const model = this.granules.get(granule)!;
    model.issued = version;
    await device.write(patternOf(granule * granuleSectors, granuleSectors, version), granule * 4096);
    model.acknowledged = version;
  }

  async flush(device: RemapDevice): Promise<void> {
    const before = new Map([...this.granules].map(([granule, { acknowledged }]) => [granule, acknowledged]));
    await device.flush();
    for (const [granule, version] of before) this.granules.get(granule)!.floor = version;
  }

  /** All bytes of a disk, as dd would copy them. */
  async imageOf(name: DiskName): Promise<Uint8Array> {
    const image = new Uint8Array(this.disk(name).geometry.sizeBytes);
    const device = this.disk(name).open();
    const piece = 1 << 20;
    for (let at = 0; at < image.length; at += piece) {
      await this.clock.run(device.read(image.subarray(at, at + piece), at));
    }
    return image;
  }

  async putBack(name: DiskName, image: Uint8Array): Promise<void> {
    const device = this.disk(name).open();
    const piece = 1 << 20;
    for (let at = 0; at < image.length; at += piece) {
      await this.clock.run(device.write(image.subarray(at, at + piece), at));
    }
    await this.clock.run(device.flush());
  }

  /** Granules that failed to be read; every other one must have a version that it may have. */
  async judge(device: RemapDevice, from: 'acknowledged' | 'floor'): Promise<number[]> {
    const failed: number[] = [];
    for (const [granule, model] of this.granules) {
      const bytes = new Uint8Array(4096);
      try {
        await device.read(bytes, granule * 4096);
      } catch (error) {
        assert.ok(error instanceof DeviceError, String(error));
        failed.push(granule);
        continue;
      }
      for (let at = 0; at < granuleSectors; at += 1) {
        const sector = bytes.subarray(at * 512, (at + 1) * 512);
        const version = new DataView(sector.buffer, sector.byteOffset).getUint32(4, true);
        assert.ok(
          version >= model[from] && version <= model.issued,
          `granule ${granule}: ${version}, not ${model[from]} to ${model.issued}`,
        );
        if (version === 0)
          assert.ok(
            sector.every((byte) => byte === 0),
            `granule ${granule}: nobody wrote that`,
          );
        else {
          const expected = patternOf(granule * granuleSectors + at, 1, version);
          assert.deepEqual(Buffer.from(sector), Buffer.from(expected));
        }
      }
    }
    return failed;
  }

  cut(): void {
    this.isCut = true;
    for (const disk of this.disks.values()) disk.powerCut();
  }

  #onOperation(): void {
    if (this.isCut) return;
    this.operations += 1;
    if (this.operations >= this.cutAt) this.cut();
  }
}

/** What `work` does beside clients that write, with the power cut at one operation, or never. */
export async function besideClients(
  world: MembersWorld,
  opened: OpenedWorld,
  cutAt: number,
  work: () => Promise<unknown>,
): Promise<boolean> {
  world.operations = 0;
  world.cutAt = cutAt;
  let done = false;
  let failure: unknown;
  const working = work().then(() => {
    done = true;
  });
  const writing = Array.from({ length: clients }, (_, client) => world.write(opened.device, client));
  Promise.all([working, ...writing]).catch((error: unknown) => {
    failure = error;
  });
  for (let slice = 0; slice < 1000 && !done && !world.isCut; slice += 1) await world.clock.runFor(10);
  if (!world.isCut) assert.equal(failure, undefined, String(failure));
  return done;
}

export function entryOf(opened: OpenedWorld, name: DiskName): MemberEntry | undefined {
  return opened.metadata.store.members.find(({ identity }) => identity['disk'] === name);
}
