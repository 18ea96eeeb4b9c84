import assert from 'node:assert/strict';
import { type BlockDevice, IoFlags, sectorBytes } from '../../src/block/block-device.ts';
import { PagedArena } from '../../src/block/buffer-arena.ts';
import { DeviceError } from '../../src/block/device-error.ts';
import { createMappedDevice } from '../../src/mapping/create-mapped-device.ts';
import { TargetRegistry } from '../../src/mapping/registry.ts';
import { MetadataStore } from '../../src/metadata/metadata-store.ts';
import { openRemapDevice } from '../../src/remap/open-remap.ts';
import type { RemapDevice } from '../../src/remap/remap-device.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { SimulatedDisk } from '../../src/simulator/simulated-disk.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';
import { standardTargets } from '../../src/targets/standard-targets.ts';

export const granuleBytes = 4096;
export const sectorsPerGranule: number = granuleBytes / sectorBytes;
const readSectorsMax = 256;
export const defaultSpareBytes: number = 16 << 20;

export interface RigOptions {
  readonly mainBytes: number;
  readonly spareBytes?: number;
  readonly fresh?: boolean;
  /** Lines of a table over the disk `main`; without it main is the disk itself. */
  readonly table?: string;
}

/**
 * The shipped remap device and metadata over two sparse simulated disks under virtual time, and a model: what was written
 * through it, sector by sector. `check` compares every byte of the model.
 */
export class FaultMapRig {
  readonly random: SeededRandom;
  readonly clock: VirtualClock;
  readonly main: SimulatedDisk;
  readonly spare: SimulatedDisk;
  /** Of sectors that were written: the bytes that must be there. */
  readonly model: Map<number, Uint8Array> = new Map();
  #arena: PagedArena = newArena();
  #cutWhenAsked: { left: number; readonly done: () => void } | undefined;
  readonly #options: RigOptions;
  #device: RemapDevice | undefined;

  private constructor(name: string, options: RigOptions) {
    this.#options = options;
    this.random = new SeededRandom(name);
    this.clock = new VirtualClock(this.random.fork('clock'));
    const common = {
      clock: this.clock,
      random: this.random,
      immediate: true,
      physicalBlockBytes: granuleBytes,
    };
    this.main = new SimulatedDisk({ name: 'main', sizeBytes: options.mainBytes, ...common });
    this.spare = new SimulatedDisk({
      name: 'spare',
      sizeBytes: options.spareBytes ?? defaultSpareBytes,
      onOperation: () => this.#countDown(),
      ...common,
    });
  }

  /** With its metadata written, and not yet open. */
  static async create(name: string, options: RigOptions): Promise<FaultMapRig> {
    const rig = new FaultMapRig(name, options);
    await rig.clock.run(
      MetadataStore.create(rig.#metadataParts(rig.spare.open()), {
        mainSizeBytes: options.mainBytes,
        logicalBlockBytes: sectorBytes,
        granuleBytes,
        properties: { name: 'map', mainIdentity: {}, spareIdentity: {}, policies: {} },
        layout: { lostRangesMax: 4096, slotsMin: 64 },
        fresh: options.fresh ?? false,
      }),
    );
    return rig;
  }

  get device(): RemapDevice {
    assert.ok(this.#device !== undefined, 'open');
    return this.#device;
  }

  async open(wrapSpare: (spare: BlockDevice) => BlockDevice = (spare) => spare): Promise<void> {
    const { clock } = this;
    const arena = this.#arena;
    const spare = wrapSpare(this.spare.open());
    const main = await this.#openMain();
    const opening = MetadataStore.open(this.#metadataParts(spare)).then((metadata) =>
      openRemapDevice({ main, spare, metadata, arena, clock }),
    );
    this.#device = await clock.run(opening);
  }

  /** I24: and nothing of it is left. */
  async close(): Promise<void> {
    await this.clock.run(this.device.close());
    assert.equal(this.#arena.usedBytes, 0, 'I24: all memory is given back');
    assert.equal(this.main.inFlightCount + this.spare.inFlightCount, 0);
    this.#device = undefined;
  }

  /** Closes it and opens it again. */
  async reopen(): Promise<void> {
    await this.close();
    await this.open();
  }

  /** After a flush, with which all of the model must stay, the power of both goes and comes again. */
  async cutAndReopen(): Promise<void> {
    await this.flush();
    this.#cut();
    await this.open();
  }

  /**
   * Writes with FUA, and cuts the power when the spare is asked for the `cutAt`-th time meanwhile, before it acts; or behind
   * the answer, when it is not asked so often. Nothing is open then.
   */
  async writeCutAt(
    sector: number,
    count: number,
    cutAt: number,
  ): Promise<{ readonly acknowledged: boolean; readonly bytes: Uint8Array }> {
    const bytes = new Uint8Array(count * sectorBytes);
    this.random.fill(bytes);
    let acknowledged = false;
    const cut = new Promise<void>((resolve) => {
      this.#cutWhenAsked = { left: cutAt, done: resolve };
    });
    const written = this.device.write(bytes, sector * sectorBytes, IoFlags.fua).then(() => {
      acknowledged = true;
    });
    await this.clock.run(Promise.race([cut, written]));
    this.#cutWhenAsked = undefined;
    this.#cut();
    return { acknowledged, bytes };
  }

  async sleep(delayMs: number): Promise<void> {
    await this.clock.run(new Promise<void>((resolve) => this.clock.schedule(delayMs, resolve)));
  }

  /** What was open is gone with the power: nobody closes it, and its memory with it. */
  #cut(): void {
    this.main.powerCut();
    this.spare.powerCut();
    this.#device = undefined;
    this.#arena = newArena();
  }

  /** Chance bytes; fails when the write does. */
  async write(sector: number, count: number): Promise<void> {
    await this.clock.run(this.startWrite(sector, count));
  }

  /** For writes of which several are under way, or which fail. The model has them when they are acknowledged. */
  async startWrite(sector: number, count: number): Promise<void> {
    const bytes = new Uint8Array(count * sectorBytes);
    this.random.fill(bytes);
    await this.device.write(bytes, sector * sectorBytes);
    for (let at = 0; at < count; at += 1) {
      this.model.set(sector + at, bytes.slice(at * sectorBytes, (at + 1) * sectorBytes));
    }
  }

  async flush(): Promise<void> {
    await this.clock.run(this.device.flush());
  }

  /** The bytes of a range; rejects with what the device says. */
  async read(sector: number, count: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(count * sectorBytes);
    await this.clock.run(this.device.read(bytes, sector * sectorBytes));
    return bytes;
  }

  /** Every sector of the model holds its bytes; neighbours are read together. */
  async check(): Promise<void> {
    assert.ok(this.model.size > 0, 'something was written');
    const sectors = [...this.model.keys()].toSorted((left, right) => left - right);
    for (let at = 0; at < sectors.length; ) {
      const first = sectors[at]!;
      let count = 1;
      while (count < readSectorsMax && sectors[at + count] === first + count) count += 1;
      const bytes = await this.read(first, count);
      for (let index = 0; index < count; index += 1) {
        const wanted = this.model.get(first + index)!;
        const found = bytes.subarray(index * sectorBytes, (index + 1) * sectorBytes);
        assert.equal(Buffer.compare(found, wanted), 0, `sector ${first + index} holds other bytes`);
      }
      at += count;
    }
  }

  async expectError(sector: number, count: number): Promise<void> {
    await assert.rejects(this.read(sector, count), DeviceError);
  }

  /** By `list`, ascending. */
  async movedGranules(): Promise<number[]> {
    const lines = (await this.device.message(['list', 'blocks'])).split('\n').filter((line) => line !== '');
    const granules = lines.map((line) => Math.floor(Number(line.split(' ')[0]) / sectorsPerGranule));
    return [...new Set(granules)].toSorted((left, right) => left - right);
  }

  #countDown(): void {
    const plan = this.#cutWhenAsked;
    if (plan === undefined) return;
    plan.left -= 1;
    if (plan.left > 0) return;
    this.#cutWhenAsked = undefined;
    this.main.powerCut();
    this.spare.powerCut();
    plan.done();
  }

  async #openMain(): Promise<BlockDevice> {
    const { table } = this.#options;
    if (table === undefined) return this.main.open();
    const registry = new TargetRegistry(
      standardTargets({ clock: this.clock, random: this.random.fork('targets') }),
    );
    return await createMappedDevice({
      name: 'main',
      table,
      registry,
      openDevice: () => Promise.resolve(this.main.open()),
    });
  }

  #metadataParts(spare: BlockDevice): {
    spare: BlockDevice;
    arena: PagedArena;
    clock: VirtualClock;
    random: SeededRandom;
  } {
    return { spare, arena: this.#arena, clock: this.clock, random: this.random.fork('metadata') };
  }
}

function newArena(): PagedArena {
  return new PagedArena(new ArrayBuffer(2 << 20), {
    remapBytes: 256 * 1024,
    metadataBytes: 512 * 1024,
    poison: true,
  });
}

export function granulesOf(sectors: readonly number[]): number[] {
  const granules = new Set(sectors.map((sector) => Math.floor(sector / sectorsPerGranule)));
  return [...granules].toSorted((left, right) => left - right);
}
