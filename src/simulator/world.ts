import type { BlockDevice } from '../block/block-device.ts';
import { IoFlags, sectorBytes } from '../block/block-device.ts';
import { PagedArena } from '../block/buffer-arena.ts';
import { asDeviceError } from '../block/device-error.ts';
import type { LayoutOptions } from '../metadata/layout.ts';
import { MetadataStore } from '../metadata/metadata-store.ts';
import { openRemapDevice } from '../remap/open-remap.ts';
import type { RemapDevice } from '../remap/remap-device.ts';
import { Judge, JudgeViolation } from './judge.ts';
import { OperationCounter } from './operation-counter.ts';
import { SeededRandom } from './seeded-random.ts';
import { SimulatedDisk } from './simulated-disk.ts';
import { GenerationClock, VirtualClock } from './virtual-clock.ts';

const granuleBytes = 4096;
/** Bad sectors must stay rare: where most granules have one, a probe of eight rightly suspects the path (R16). */
const mainSectors = 1024;
const spareBytes = 3 << 20;
const arenaBytes = 1 << 20;
/** Metadata small enough that checkpoints, full journals and generations happen every few remaps. */
export const worldLayout: LayoutOptions = { lostRangesMax: 128, journalBytes: 8 * 4096, slotsMin: 64 };
/** Sectors of the largest request. */
const requestSectorsMax = 32;
/** With several clients each owns every n-th stripe of this many sectors: not a granule's, so that granules are shared. */
const stripeSectors = 6;
/** Sectors of main that are bad before the first request. */
const badAtStart = 24;

export interface WorldOptions {
  readonly seed: number;
  /** Requests of each client before the planned end, and again after the first restart. */
  readonly clientOperations: number;
  /** Clients at the same time; no two write the same sector, all share granules. Default 1. */
  readonly clients?: number;
  /** Device operations (submissions and settlements, main and spare) after which it happens; never when absent. */
  readonly cutAt?: number;
  readonly cutKind?: 'power' | 'kill';
}

/** What one run was made of: tests assert that the interesting things really happened (I26). */
export interface WorldOutcome {
  readonly deviceOperations: number;
  readonly cut: boolean;
  readonly remappedGranules: number;
  readonly lostSectors: number;
  readonly checkpoints: number;
  readonly writes: number;
  readonly flushes: number;
  readonly badSectorWrites: number;
  readonly badSectorReads: number;
}

interface Generation {
  readonly clock: GenerationClock;
  readonly main: BlockDevice;
  readonly spare: BlockDevice;
  readonly arena: PagedArena;
}

/**
 * Clients on one device: main with bad sectors, a spare, a power cut at any device operation, and a judge. The stack
 * is the shipped one; only the disks, the clock and chance are simulated.
 */
export class World {
  readonly #options: WorldOptions;
  readonly #random: SeededRandom;
  readonly #clock: VirtualClock;
  readonly #counter = new OperationCounter();
  readonly #judge: Judge;
  readonly #main: SimulatedDisk;
  readonly #spare: SimulatedDisk;
  #generation: Generation | undefined;
  #armed = false;
  #operations = 0;
  #cut = false;
  #writes = 0;
  #flushes = 0;
  #checkpoints = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
    this.#clock = new VirtualClock(this.#random.fork('clock'));
    this.#judge = new Judge(mainSectors, options.seed);
    this.#main = this.#newDisk('main', mainSectors * sectorBytes);
    this.#spare = this.#newDisk('spare', spareBytes);
  }

  /** Runs the whole story. Throws `JudgeViolation`, or what the stack throws, when a promise is broken. */
  async run(): Promise<WorldOutcome> {
    await this.#create();
    await this.#untilCut(this.#firstSession());
    const second = await this.#restart();
    await this.#clock.run(this.#checkAll(second));
    await this.#clock.run(this.#clientsWork(second));
    const { remappedGranules } = second.status();
    await this.#clock.run(this.#checkAll(second));
    await this.#clock.run(this.#stop(second));
    const third = await this.#restart();
    await this.#clock.run(this.#checkAll(third));
    const status = third.status();
    if (status.remappedGranules !== remappedGranules) {
      throw new JudgeViolation(
        `${remappedGranules} remaps before a clean stop, ${status.remappedGranules} after it`,
      );
    }
    await this.#clock.run(this.#stop(third));
    return this.#outcome(status.remappedGranules, status.unreadableSectors + status.goneSectors);
  }

  #newDisk(name: string, sizeBytes: number): SimulatedDisk {
    return new SimulatedDisk({
      name,
      sizeBytes,
      physicalBlockBytes: granuleBytes,
      clock: this.#clock,
      random: this.#random,
      counter: this.#counter,
      onOperation: () => this.#onOperation(),
    });
  }

  async #create(): Promise<void> {
    const initial = new Uint8Array(mainSectors * sectorBytes);
    this.#judge.fill(initial, 0, 0);
    this.#main.load(initial);
    this.#breakSectors(badAtStart);
    const { clock, spare, arena } = this.#newGeneration();
    await this.#clock.run(
      MetadataStore.create(
        { spare, arena, clock, random: this.#random.fork('create') },
        {
          mainSizeBytes: mainSectors * sectorBytes,
          logicalBlockBytes: sectorBytes,
          granuleBytes,
          properties: { name: 'world', mainIdentity: {}, spareIdentity: {}, policies: {} },
          layout: worldLayout,
        },
      ),
    );
  }

  #newGeneration(): Generation {
    const generation = {
      clock: new GenerationClock(this.#clock),
      main: this.#main.open(),
      spare: this.#spare.open(),
      arena: new PagedArena(new ArrayBuffer(arenaBytes), {
        remapBytes: arenaBytes / 4,
        metadataBytes: arenaBytes / 4,
        poison: true,
      }),
    };
    this.#generation = generation;
    return generation;
  }

  /** The session whose power may be cut at any moment, from the first operation of opening to the last of closing. */
  async #firstSession(): Promise<void> {
    this.#armed = true;
    const device = await this.#open();
    await this.#clientsWork(device);
    await this.#stop(device);
  }

  async #open(): Promise<RemapDevice> {
    const { main, spare, arena, clock } = this.#newGeneration();
    const metadata = await MetadataStore.open({
      spare,
      arena,
      clock,
      random: this.#random.fork(`open ${this.#operations}`),
    });
    return await openRemapDevice({ main, spare, metadata, arena, clock });
  }

  /** Runs until the work is done or the power is gone, whichever is first. */
  async #untilCut(work: Promise<void>): Promise<void> {
    let done = false;
    const settled = work.finally(() => {
      done = true;
    });
    // A failure is thrown by the await below; until then it must not count as unhandled.
    settled.catch(() => undefined);
    await this.#clock.runUntil(() => done || this.#cut);
    this.#armed = false;
    if (done) await settled;
  }

  async #restart(): Promise<RemapDevice> {
    return await this.#clock.run(this.#open());
  }

  async #stop(device: RemapDevice): Promise<void> {
    this.#checkpoints += device.status().metadata.checkpoints;
    const token = this.#judge.flushBegun();
    await this.#answered(device.close());
    const used = this.#generation?.arena.usedBytes;
    if (used !== 0) throw new JudgeViolation(`${used} bytes of the arena are still out after close`);
    this.#judge.flushAcknowledged(token);
  }

  #onOperation(): void {
    if (!this.#armed) return;
    this.#operations += 1;
    if (this.#operations !== this.#options.cutAt || this.#cut) return;
    this.#cut = true;
    this.#generation?.clock.end();
    this.#generation = undefined;
    for (const disk of [this.#main, this.#spare]) {
      if (this.#options.cutKind === 'kill') disk.kill();
      else disk.powerCut();
    }
    if (this.#options.cutKind === 'kill') this.#judge.killed();
    else this.#judge.powerCut();
  }

  async #clientsWork(device: RemapDevice): Promise<void> {
    const clients = this.#options.clients ?? 1;
    await Promise.all(Array.from({ length: clients }, (_, client) => this.#clientWork(device, client)));
  }

  async #clientWork(device: RemapDevice, client: number): Promise<void> {
    for (let operation = 0; operation < this.#options.clientOperations; operation += 1) {
      const dice = this.#random.below(100);
      if (dice < 55) await this.#write(device, client, dice < 10);
      else if (dice < 80) await this.#readSome(device, client);
      else if (dice < 95) await this.#flush(device);
      else this.#breakSectors(1 + this.#random.below(3));
    }
  }

  async #write(device: RemapDevice, client: number, fua: boolean): Promise<void> {
    const { firstSector, count } = this.#someSectors(client);
    const version = this.#judge.newVersion();
    const source = new Uint8Array(count * sectorBytes);
    this.#judge.fill(source, firstSector, version);
    this.#judge.writeBegun(firstSector, count, version);
    await this.#answered(device.write(source, firstSector * sectorBytes, fua ? IoFlags.fua : IoFlags.none));
    this.#judge.writeAcknowledged(firstSector, count, version, fua);
    this.#writes += 1;
  }

  async #flush(device: RemapDevice): Promise<void> {
    const token = this.#judge.flushBegun();
    await this.#answered(device.flush());
    this.#judge.flushAcknowledged(token);
    this.#flushes += 1;
  }

  /**
   * An answer that the client really gets. The power can go while microtasks are still carrying an answer upwards: such a
   * one never leaves the machine.
   */
  async #answered(request: Promise<void>): Promise<void> {
    const generation = this.#generation;
    try {
      await request;
    } finally {
      if (this.#generation !== generation) await new Promise<never>(() => {});
    }
  }

  async #readSome(device: RemapDevice, client: number): Promise<void> {
    const { firstSector, count } = this.#someSectors(client);
    await this.#readAndCheck(device, firstSector, count);
  }

  async #checkAll(device: RemapDevice): Promise<void> {
    for (let sector = 0; sector < mainSectors; sector += requestSectorsMax) {
      await this.#readAndCheck(device, sector, requestSectorsMax);
    }
  }

  async #readAndCheck(device: RemapDevice, firstSector: number, count: number): Promise<void> {
    const target = new Uint8Array(count * sectorBytes);
    const lost = new Set<number>();
    try {
      await this.#answered(device.read(target, firstSector * sectorBytes));
    } catch (error) {
      for (const range of asDeviceError(error).ranges) {
        if (range.kind === 'path' || range.kind === 'timed-out') throw error;
        for (let at = 0; at < range.length; at += sectorBytes) lost.add((range.offset + at) / sectorBytes);
      }
    }
    for (let sector = firstSector; sector < firstSector + count; sector += 1) {
      const from = (sector - firstSector) * sectorBytes;
      if (lost.has(sector)) this.#judge.checkLost(sector);
      else this.#judge.checkRead(target.subarray(from, from + sectorBytes), sector);
    }
  }

  #someSectors(client: number): { firstSector: number; count: number } {
    const clients = this.#options.clients ?? 1;
    if (clients === 1) {
      const count = 1 + this.#random.below(requestSectorsMax);
      return { firstSector: this.#random.below(mainSectors - count + 1), count };
    }
    const stripes = Math.floor(mainSectors / stripeSectors / clients);
    const stripe = this.#random.below(stripes) * clients + client;
    const from = this.#random.below(stripeSectors);
    return {
      firstSector: stripe * stripeSectors + from,
      count: 1 + this.#random.below(stripeSectors - from),
    };
  }

  /** A sector that only fails reads heals when it is written: else an acknowledged write could be lost in silence. */
  #breakSectors(count: number): void {
    for (let broken = 0; broken < count; broken += 1) {
      const sector = this.#random.below(mainSectors);
      const on = this.#random.pick(['both', 'both', 'write', 'read'] as const);
      this.#main.faults.addBadSectors(sector, 1, { on, healOnWrite: on === 'read' });
      if (on !== 'write') this.#judge.mainWentBad(sector);
    }
  }

  #outcome(remappedGranules: number, lostSectors: number): WorldOutcome {
    const { badSectorWrites, badSectorReads } = this.#main.faults.counts;
    return {
      deviceOperations: this.#operations,
      cut: this.#cut,
      remappedGranules,
      lostSectors,
      checkpoints: this.#checkpoints,
      writes: this.#writes,
      flushes: this.#flushes,
      badSectorWrites,
      badSectorReads,
    };
  }
}
