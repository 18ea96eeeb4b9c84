import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PagedArena } from '../../src/block/buffer-arena.ts';
import { delay } from '../../src/block/clock.ts';
import { DeviceError } from '../../src/block/device-error.ts';
import { MetadataStore } from '../../src/metadata/metadata-store.ts';
import { openRemapDevice } from '../../src/remap/open-remap.ts';
import type { RemapDevice } from '../../src/remap/remap-device.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { SimulatedDisk } from '../../src/simulator/simulated-disk.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';
import { patternOf } from './remap-stack.ts';

const mainBytes = 4 << 20;
const regionSectors = 2048;
/** Sectors that the clients use: the beginnings of two regions, so that marks, writes and ends of regions meet. */
const usedSectors: readonly number[] = Array.from({ length: 96 }, (_, index) =>
  index < 48 ? index : regionSectors + index - 48,
);
const badSectors: readonly number[] = [
  0,
  2,
  9,
  17,
  31,
  regionSectors + 1,
  regionSectors + 20,
  regionSectors + 40,
];
/** Main takes their writes and never gives them back: there an error is right, and zeros are wrong after a write. */
const readBadSectors: readonly number[] = [4, 12, 25, 40, regionSectors + 5, regionSectors + 33];
const oldByte = 0x5a;

/** What one sector may hold. Versions count up over the whole run; 0 is what was there before, or zeros. */
interface SectorModel {
  /** The version of the last acknowledged write. */
  acknowledged: number;
  /** No version below it may come back. */
  floor: number;
  issued: number;
}

/** One fresh device on two disks with volatile caches, its power cut again and again. */
class FreshWorld {
  readonly random: SeededRandom;
  readonly clock: VirtualClock;
  readonly main: SimulatedDisk;
  readonly spare: SimulatedDisk;
  readonly sectors = new Map<number, SectorModel>();
  #versions = 0;
  zerosRead = 0;

  constructor(seed: string) {
    this.random = new SeededRandom(seed);
    this.clock = new VirtualClock(this.random.fork('clock'));
    // A slow spare: whoever does not wait for its records is long done with main.
    const disk = (name: string, sizeBytes: number, latencyMaxMs: number): SimulatedDisk =>
      new SimulatedDisk({
        name,
        sizeBytes,
        latencyMinMs: latencyMaxMs / 2,
        latencyMaxMs,
        physicalBlockBytes: 4096,
        clock: this.clock,
        random: this.random,
      });
    this.main = disk('main', mainBytes, 0.2);
    this.spare = disk('spare', 4 << 20, 5);
    this.main.load(new Uint8Array(mainBytes).fill(oldByte));
    for (const sector of badSectors) this.main.faults.addBadSectors(sector, 1, { on: 'both' });
    for (const sector of readBadSectors) this.main.faults.addBadSectors(sector, 1, { on: 'read' });
    for (const sector of usedSectors) this.sectors.set(sector, { acknowledged: 0, floor: 0, issued: 0 });
  }

  async create(): Promise<void> {
    await this.clock.run(
      MetadataStore.create(
        { ...this.#surroundings(), spare: this.spare.open() },
        {
          mainSizeBytes: mainBytes,
          logicalBlockBytes: 512,
          granuleBytes: 4096,
          properties: { name: 'fresh', mainIdentity: {}, spareIdentity: {}, policies: {} },
          layout: { lostRangesMax: 128, journalBytes: 8 * 4096, slotsMin: 64 },
          fresh: true,
        },
      ),
    );
  }

  async open(): Promise<RemapDevice> {
    const surroundings = this.#surroundings();
    const spare = this.spare.open();
    const opening = MetadataStore.open({ ...surroundings, spare }).then((metadata) =>
      openRemapDevice({ ...surroundings, main: this.main.open(), spare, metadata }),
    );
    return await this.clock.run(opening);
  }

  /** Writes, zeroing, discards and flushes, one after the other, until the power goes. */
  async write(device: RemapDevice): Promise<never> {
    for (;;) {
      const what = this.random.below(10);
      if (what < 3) await this.#flush(device);
      else await this.#writeSome(device);
    }
  }

  /** Reads beside it; what was acknowledged before a read began must be in its answer. */
  async read(device: RemapDevice): Promise<never> {
    // What is read before its first write is marked by that: some sectors must be written first.
    await delay(this.clock, this.random.between(0, 60));
    for (;;) {
      const sectors = this.random.chance(0.5) ? readBadSectors : usedSectors;
      await this.#judge(device, this.random.pick(sectors), 'acknowledged');
    }
  }

  async judgeAll(device: RemapDevice): Promise<void> {
    for (const sector of usedSectors) await this.#judge(device, sector, 'floor');
  }

  cutPower(): void {
    this.main.powerCut();
    this.spare.powerCut();
  }

  #surroundings(): { arena: PagedArena; clock: VirtualClock; random: SeededRandom } {
    // The memory of a process goes with it.
    const memory = new ArrayBuffer(2 << 20);
    const arena = new PagedArena(memory, { remapBytes: 256 * 1024, metadataBytes: 512 * 1024 });
    return { arena, clock: this.clock, random: this.random.fork('metadata') };
  }

  async #writeSome(device: RemapDevice): Promise<void> {
    const first = this.random.pick(this.random.chance(0.5) ? readBadSectors : usedSectors);
    const sectors = usedSectors.filter(
      (sector) => sector >= first && sector < first + this.random.pick([1, 3, 8]),
    );
    const run = sectors.filter((sector, index) => sector === first + index);
    this.#versions += 1;
    const version = this.#versions;
    for (const sector of run) this.sectors.get(sector)!.issued = version;
    await device.write(patternOf(first, run.length, version), first * 512);
    for (const sector of run) this.sectors.get(sector)!.acknowledged = version;
  }

  async #flush(device: RemapDevice): Promise<void> {
    const before = new Map([...this.sectors].map(([sector, { acknowledged }]) => [sector, acknowledged]));
    await device.flush();
    for (const [sector, version] of before) this.sectors.get(sector)!.floor = version;
  }

  async #judge(device: RemapDevice, sector: number, least: 'acknowledged' | 'floor'): Promise<void> {
    const from = this.sectors.get(sector)![least];
    const bytes = new Uint8Array(512).fill(0xee);
    const isReadBad = readBadSectors.includes(sector);
    const isBad = isReadBad || badSectors.includes(sector);
    try {
      await device.read(bytes, sector * 512);
    } catch (error) {
      assert.ok(error instanceof DeviceError, String(error));
      assert.ok(isBad, `sector ${sector} is good`);
      assert.ok(isReadBad || from === 0, `sector ${sector}: version ${from} is lost`);
      return;
    }
    const { issued } = this.sectors.get(sector)!;
    const initial = bytes.every((byte) => byte === (isBad ? 0 : oldByte));
    if (initial && isBad) this.zerosRead += 1;
    const version = initial ? 0 : new DataView(bytes.buffer).getUint32(4, true);
    if (!initial)
      assert.deepEqual(bytes, patternOf(sector, 1, version), `sector ${sector}: bytes that nobody wrote`);
    assert.ok(version >= from && version <= issued, `sector ${sector}: ${version}, not ${from} to ${issued}`);
    // After a power cut what came back is on the media, and what did not was never promised.
    if (least === 'floor')
      this.sectors.set(sector, { acknowledged: version, floor: version, issued: version });
  }
}

describe('a fresh device whose power goes', () => {
  it('R13 never calls a sector fresh that has acknowledged and flushed bytes', async () => {
    let zeros = 0;
    let cuts = 0;
    for (let seed = 0; seed < 36; seed += 1) {
      const world = new FreshWorld(`fresh power ${seed}`);
      await world.create();
      for (let session = 0; session < 3; session += 1) {
        const device = await world.open();
        const failed = Promise.race([world.write(device), world.read(device)]);
        let failure: unknown;
        failed.catch((error: unknown) => {
          failure = error;
        });
        await world.clock.runFor(world.random.between(0, world.random.pick([15, 80])));
        world.cutPower();
        cuts += 1;
        assert.equal(failure, undefined, `seed ${seed}, session ${session}: ${String(failure)}`);
        const again = await world.open();
        await world.clock.run(world.judgeAll(again));
        await world.clock.run(again.close());
      }
      zeros += world.zerosRead;
    }
    assert.equal(cuts, 108);
    assert.ok(zeros > 100, `${zeros} zeros were read for sectors that nobody wrote`);
  });
});
