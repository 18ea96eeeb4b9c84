import assert from 'node:assert/strict';
import { PagedArena } from '../../../src/block/buffer-arena.ts';
import { DeviceError } from '../../../src/block/device-error.ts';
import { disownSuperblocks, emptySpare } from '../../../src/metadata/empty-spare.ts';
import { MetadataError, MetadataStore, type OpenedMetadata } from '../../../src/metadata/metadata-store.ts';
import { openRemapDevice } from '../../../src/remap/open-remap.ts';
import type { RemapDevice } from '../../../src/remap/remap-device.ts';
import { LeavableDevice } from '../../../src/remap/spare/leavable-device.ts';
import { ReplaceableSpare } from '../../../src/remap/spare/replaceable-spare.ts';
import type { ReplacementOutcome, SpareReplacement } from '../../../src/remap/spare/spare-replacement.ts';
import { SeededRandom } from '../../../src/simulator/seeded-random.ts';
import { SimulatedDisk } from '../../../src/simulator/simulated-disk.ts';
import { VirtualClock } from '../../../src/simulator/virtual-clock.ts';
import { patternOf } from '../remap-stack.ts';

const mainBytes = 2 << 20;
export const spareBytes: number = 4 << 20;
const granuleSectors = 8;
/** Granules whose sectors main does not write: what clients write there lives on the spare. */
export const badGranules: readonly number[] = [1, 3, 4, 9, 20, 21, 22, 40, 100, 101];
/** Each writes granules of its own. */
const clients = 3;
export const usedGranules: readonly number[] = [...badGranules, 2, 30, 200];

/** No superblock is found, and what cannot be read is not one that anybody could open. */
const nothingThere: readonly string[] = ['METADATA_NOT_A_SPARE', 'METADATA_NO_REPLICA'];

export interface GranuleModel {
  acknowledged: number;
  /** Acknowledged and flushed: no version below it may come back. */
  floor: number;
  issued: number;
}

export interface Opened {
  readonly metadata: OpenedMetadata;
  readonly device: RemapDevice;
  readonly spare: ReplaceableSpare;
}

/** One device whose spare is replaced while clients write, and whose power goes at one operation of a disk. */
export class ReplacementWorld {
  readonly random: SeededRandom;
  readonly clock: VirtualClock;
  readonly main: SimulatedDisk;
  readonly old: SimulatedDisk;
  readonly next: SimulatedDisk;
  readonly granules: Map<number, GranuleModel> = new Map();
  /** Operations of all disks since it was armed. */
  operations = 0;
  /** When the old superblocks began to name the new disk. */
  exchangedAt = 0;
  /** When the replacement had ended. */
  endedAt = 0;
  cutAt: number = Number.POSITIVE_INFINITY;
  isCut = false;
  /** Clients stop by themselves. */
  ended = false;
  #versions = 0;

  /** A larger disk may take over; the rest of it is not used. */
  constructor(seed: string, nextBytes: number = spareBytes + (1 << 20)) {
    this.random = new SeededRandom(seed);
    this.clock = new VirtualClock(this.random.fork('clock'));
    const disk = (name: string, sizeBytes: number): SimulatedDisk =>
      new SimulatedDisk({
        name,
        sizeBytes,
        latencyMinMs: 0.1,
        latencyMaxMs: 1,
        physicalBlockBytes: 4096,
        clock: this.clock,
        random: this.random,
        onOperation: () => this.#onOperation(),
      });
    this.main = disk('main', mainBytes);
    this.old = disk('old', spareBytes);
    this.next = disk('next', nextBytes);
    for (const granule of badGranules) {
      this.main.faults.addBadSectors(granule * granuleSectors, granuleSectors, { on: 'both' });
    }
    for (const granule of usedGranules) this.granules.set(granule, { acknowledged: 0, floor: 0, issued: 0 });
  }

  async create(): Promise<void> {
    const parts = { ...this.surroundings(), spare: this.old.open() };
    await this.clock.run(
      MetadataStore.create(parts, {
        mainSizeBytes: mainBytes,
        logicalBlockBytes: 512,
        granuleBytes: 4096,
        properties: { name: 'disk', mainIdentity: {}, spareIdentity: { disk: 'old' }, policies: {} },
        layout: { lostRangesMax: 128, journalBytes: 8 * 4096, slotsMin: 64 },
      }),
    );
  }

  async open(disk: SimulatedDisk): Promise<Opened> {
    const surroundings = this.surroundings();
    const spare = new ReplaceableSpare(new LeavableDevice(disk.open(), { arena: surroundings.arena }));
    return await this.clock.run(
      MetadataStore.open({ ...surroundings, spare }).then(async (metadata) => ({
        metadata,
        spare,
        device: await openRemapDevice({ ...surroundings, main: this.main.open(), spare, metadata }),
      })),
    );
  }

  replacement(
    { metadata, device, spare }: Opened,
    giveUp = false,
    noteSession: () => Promise<void> = async () => undefined,
    onStartAnew: () => void = () => undefined,
  ): SpareReplacement {
    const target = this.next.open();
    const { arena, clock, random } = this.surroundings();
    const { layout, store } = metadata;
    return device.spareReplacement({
      store: {
        startAnew: (change, exchange, needsAll) => {
          onStartAnew();
          return store.startAnew(change, exchange, needsAll);
        },
        goBack: (change) => store.goBack(change),
        status: () => store.status(),
        get sentSuperblock() {
          return store.sentSuperblock;
        },
        get flushEpoch() {
          return store.flushEpoch;
        },
        updateProperties: (change) => {
          this.exchangedAt = this.operations;
          return store.updateProperties(change);
        },
      },
      spare,
      target,
      identities: { before: { disk: 'old' }, after: { disk: 'next' } },
      giveUp,
      // All is copied while clients write, and what they change again is copied again.
      holdBelowSlots: 0,
      prepare: async (disk) => {
        await emptySpare({ spare: disk, arena, clock, random }, layout, {
          host: undefined,
          takeover: false,
        });
      },
      disown: (disk) => disownSuperblocks({ spare: disk, arena, clock, random }, layout),
      noteSession,
    });
  }

  surroundings(): { arena: PagedArena; clock: VirtualClock; random: SeededRandom } {
    const memory = new ArrayBuffer(2 << 20);
    const arena = new PagedArena(memory, { remapBytes: 256 * 1024, metadataBytes: 512 * 1024, poison: true });
    return { arena, clock: this.clock, random: this.random.fork('metadata') };
  }

  /** Some granules on the spare, acknowledged and flushed. */
  async fill(device: RemapDevice): Promise<void> {
    for (const granule of usedGranules) if (granule !== 40) await this.#write(device, granule);
    await this.#flush(device);
  }

  /** Until the power goes. */
  async write(device: RemapDevice, client: number): Promise<void> {
    const own = usedGranules.filter((_, index) => index % clients === client);
    while (!this.isCut && !this.ended) {
      if (this.random.below(12) === 0) await this.#flush(device);
      else await this.#write(device, this.random.pick(own));
    }
  }

  /** Disks that this host would open without being told to: their superblock says that it is theirs (M12). */
  async originals(): Promise<SimulatedDisk[]> {
    const found: SimulatedDisk[] = [];
    for (const [disk, name] of [
      [this.old, 'old'],
      [this.next, 'next'],
    ] as const) {
      if ((await this.ownerOf(disk)) === name) found.push(disk);
    }
    return found;
  }

  /** Whose superblock is on the disk; undefined where nothing can be opened. */
  async ownerOf(disk: SimulatedDisk): Promise<string | undefined> {
    try {
      const { facts } = await this.clock.run(
        MetadataStore.openReadOnly({ ...this.surroundings(), spare: disk.open() }),
      );
      return facts.properties.spareIdentity['disk'];
    } catch (error) {
      assert.ok(error instanceof MetadataError && nothingThere.includes(error.code), String(error));
      return undefined;
    }
  }

  async judgeAll(device: RemapDevice, from: 'acknowledged' | 'floor'): Promise<void> {
    for (const [granule, model] of this.granules) {
      const bytes = new Uint8Array(4096);
      try {
        await device.read(bytes, granule * 4096);
      } catch (error) {
        assert.ok(error instanceof DeviceError, String(error));
        assert.ok(
          model[from] === 0 && badGranules.includes(granule),
          `granule ${granule}: ${model[from]} is lost`,
        );
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
        else
          assert.deepEqual(
            Buffer.from(sector),
            Buffer.from(patternOf(granule * granuleSectors + at, 1, version)),
          );
      }
    }
  }

  cut(): void {
    this.isCut = true;
    for (const disk of [this.main, this.old, this.next]) disk.powerCut();
  }

  #onOperation(): void {
    if (this.isCut) return;
    this.operations += 1;
    if (this.operations >= this.cutAt) this.cut();
  }

  async #write(device: RemapDevice, granule: number): Promise<void> {
    this.#versions += 1;
    const version = this.#versions;
    const model = this.granules.get(granule)!;
    model.issued = version;
    await device.write(patternOf(granule * granuleSectors, granuleSectors, version), granule * 4096);
    model.acknowledged = version;
  }

  async #flush(device: RemapDevice): Promise<void> {
    const before = new Map([...this.granules].map(([granule, { acknowledged }]) => [granule, acknowledged]));
    await device.flush();
    for (const [granule, version] of before) this.granules.get(granule)!.floor = version;
  }
}

/** A world whose clients write while the spare is replaced, with the power cut at one operation, or never. */
export async function replaceOnce(
  seed: string,
  cutAt: number,
): Promise<{ world: ReplacementWorld; opened: Opened; outcome: ReplacementOutcome | undefined }> {
  const world = new ReplacementWorld(seed);
  await world.create();
  const opened = await world.open(world.old);
  await world.clock.run(world.fill(opened.device));
  world.operations = 0;
  world.cutAt = cutAt;
  let outcome: ReplacementOutcome | undefined;
  const replacing = world
    .replacement(opened)
    .run()
    .then((end) => {
      outcome = end;
      world.endedAt = world.operations;
    });
  let failure: unknown;
  const writing = Array.from({ length: clients }, (_, client) => world.write(opened.device, client));
  Promise.all([replacing, ...writing]).catch((error: unknown) => {
    failure = error;
  });
  for (let slice = 0; slice < 400 && outcome === undefined && !world.isCut; slice += 1) {
    await world.clock.runFor(10);
  }
  assert.equal(failure, undefined, `${seed}: ${String(failure)}`);
  return { world, opened, outcome };
}
