import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { BlockDevice } from '../../src/block/block-device.ts';
import { PagedArena } from '../../src/block/buffer-arena.ts';
import { type Clock, delay } from '../../src/block/clock.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';
import { MetadataStore } from '../../src/metadata/metadata-store.ts';
import { openRemapDevice } from '../../src/remap/open-remap.ts';
import type { RemapDevice } from '../../src/remap/remap-device.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { SimulatedDisk } from '../../src/simulator/simulated-disk.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';

const granuleBytes = 4096;
const flushMs = 3;

/** A spare whose flush takes as long as that of a disk. */
class SlowFlush extends FilterDevice {
  readonly #clock: Clock;

  constructor(below: BlockDevice, clock: Clock) {
    super(below);
    this.#clock = clock;
  }

  override async flush(): Promise<void> {
    await this.below.flush();
    await delay(this.#clock, flushMs);
  }
}

/** A device over a main on which every write to the first `badGranules` granules fails, and over the shipped metadata. */
class Bench {
  readonly clock: VirtualClock;
  readonly main: SimulatedDisk;
  readonly spare: SimulatedDisk;
  readonly device: RemapDevice;
  readonly store: MetadataStore;

  static async open(seed: string, badGranules: number): Promise<Bench> {
    const random = new SeededRandom(seed);
    const clock = new VirtualClock(random.fork('clock'));
    const disk = (name: string, sizeBytes: number): SimulatedDisk =>
      new SimulatedDisk({
        name,
        sizeBytes,
        physicalBlockBytes: granuleBytes,
        clock,
        random,
        latencyMinMs: 0.05,
        latencyMaxMs: 0.2,
      });
    const main = disk('main', 256 << 20);
    const spare = disk('spare', 96 << 20);
    main.faults.addBadSectors(0, badGranules * 8, { on: 'write' });
    const arena = new PagedArena(new ArrayBuffer(8 << 20), {
      remapBytes: 4 << 20,
      metadataBytes: 512 << 10,
      poison: false,
    });
    const slow = new SlowFlush(spare.open(), clock);
    const parts = { spare: slow, arena, clock, random: random.fork('metadata') };
    const opening = (async () => {
      await MetadataStore.create(parts, {
        mainSizeBytes: main.geometry.sizeBytes,
        logicalBlockBytes: 512,
        granuleBytes,
        properties: { name: 'costs', mainIdentity: {}, spareIdentity: {}, policies: {} },
      });
      const metadata = await MetadataStore.open(parts);
      const device = await openRemapDevice({ main: main.open(), spare: slow, metadata, arena, clock });
      return new Bench(clock, main, spare, device, metadata.store);
    })();
    return await clock.run(opening);
  }

  constructor(
    clock: VirtualClock,
    main: SimulatedDisk,
    spare: SimulatedDisk,
    device: RemapDevice,
    store: MetadataStore,
  ) {
    this.clock = clock;
    this.main = main;
    this.spare = spare;
    this.device = device;
    this.store = store;
  }

  get remaps(): number {
    return this.device.status().counters.remaps;
  }

  write(granule: number): Promise<void> {
    return this.device.write(new Uint8Array(granuleBytes).fill(granule & 0xff), granule * granuleBytes);
  }

  /** Writes to the granules 0 to `count` - 1, `depth` of them under way at any time. */
  async writeAll(count: number, depth: number): Promise<void> {
    let next = 0;
    const client = async (): Promise<void> => {
      for (let granule = next; granule < count; granule = next) {
        next = granule + 1;
        await this.write(granule);
      }
    };
    await this.clock.run(Promise.all(Array.from({ length: depth }, client)));
  }
}

describe('M19 what a remap costs', () => {
  for (const seed of ['a', 'b', 'c']) {
    it(`at most 0.05 flushes of the spare with 128 writes under way, seed ${seed}`, async () => {
      const count = 3072;
      const bench = await Bench.open(seed, count);
      const before = { ...bench.spare.counts };
      await bench.writeAll(count, 128);
      assert.equal(bench.remaps, count, 'every write was a remap');
      const flushes = bench.spare.counts.flushes - before.flushes;
      assert.ok(flushes / count <= 0.05, `${flushes} flushes for ${count} remaps`);
      // One data write each, and a block for each replica in each batch.
      const { batches } = bench.store.status();
      const writes = bench.spare.counts.writes - before.writes;
      assert.ok(writes <= count + 4 * batches * bench.store.status().replicasTotal, `${writes} writes`);
    });
  }

  it('two flushes and four writes of the spare for a lone one, with three replicas', async () => {
    const bench = await Bench.open('lone', 60);
    assert.equal(bench.store.status().replicasInSync, 3);
    // Behind the first, main has granules that it is known to write.
    for (let granule = 0; granule < 60; granule += 1) {
      const before = { ...bench.spare.counts };
      await bench.clock.run(bench.write(granule));
      const { flushes, writes } = bench.spare.counts;
      assert.equal(flushes - before.flushes, 2);
      assert.equal(writes - before.writes, 4);
    }
    assert.equal(bench.remaps, 60);
  });

  it('at most 14 ms in 99 of 100 cases for a lone one, with flushes of 3 ms', async () => {
    const count = 1000;
    const bench = await Bench.open('latency', count);
    const times: number[] = [];
    for (let granule = 0; granule < count; granule += 1) {
      const sinceMs = bench.clock.nowMs();
      await bench.clock.run(bench.write(granule));
      times.push(bench.clock.nowMs() - sinceMs);
    }
    assert.equal(bench.remaps, count);
    assert.ok(bench.store.status().checkpoints > 0, 'checkpoints are among them');
    const sorted = times.sort((a, b) => a - b);
    assert.ok(sorted[0]! >= 2 * flushMs, 'both flushes were waited for');
    const p99 = sorted[Math.ceil(count * 0.99) - 1]!;
    assert.ok(p99 <= 14, `p99 is ${p99.toFixed(2)} ms`);
  });
});
