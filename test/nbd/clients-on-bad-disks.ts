import assert from 'node:assert/strict';
import { type BlockDevice, type Extent, sectorBytes } from '../../src/block/block-device.ts';
import { PagedArena } from '../../src/block/buffer-arena.ts';
import { delay } from '../../src/block/clock.ts';
import { Errno } from '../../src/block/errno.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';
import { StreamError } from '../../src/io/byte-stream.ts';
import { connectNbd, type NbdClient, NbdRequestError } from '../../src/nbd/client.ts';
import { NbdServer } from '../../src/nbd/server.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { finish, makeStack, type Stack } from '../remap/remap-stack.ts';
import { type Change, JudgedSectors, versionPattern } from './judged-sectors.ts';
import { memoryStreamPair } from './memory-stream.ts';

const diskSectors = 256;
const spareOffsetSlots = 16;

/** What a run has met, for tests that must not pass without it. */
export interface Met {
  requests: number;
  cutConnections: number;
  powerCuts: number;
  remapped: number;
  partialReads: number;
  zeroExtents: number;
}

export interface RunOptions {
  /** Disks come and go. */
  readonly outages?: boolean;
}

/**
 * Clients on several connections of one server over a bad disk: reads, writes, zeroes, trims, flushes and block status, several
 * at once on each connection, which breaks now and then. Every read, and what power cuts would leave, is judged.
 */
export async function runClientsOnBadDisk(seed: number, options: RunOptions = {}): Promise<Met> {
  return await new BadDiskRun(seed, options).run();
}

class BadDiskRun {
  readonly #random: SeededRandom;
  readonly #stack: Stack;
  readonly #judge = new JudgedSectors(diskSectors);
  readonly #server: NbdServer;
  readonly #arena: PagedArena;
  readonly #options: RunOptions;
  /** Changes that were acknowledged and are not known to be durable. */
  readonly #volatile = new Set<Change>();
  readonly #met: Met = {
    requests: 0,
    cutConnections: 0,
    powerCuts: 0,
    remapped: 0,
    partialReads: 0,
    zeroExtents: 0,
  };

  constructor(seed: number, options: RunOptions) {
    this.#options = options;
    this.#random = new SeededRandom(seed);
    const granuleBytes = this.#random.pick([512, 4096, 16_384]);
    this.#stack = makeStack({
      seed: String(seed),
      mainBytes: diskSectors * sectorBytes,
      spareBytes: 2 << 20,
      granuleBytes,
      reserved: [{ slot: 0, slotCount: (spareOffsetSlots * 4096) / granuleBytes }],
      exactRanges: this.#random.chance(0.5),
      verifySlots: this.#random.chance(0.8),
      fresh: this.#random.chance(0.2),
      mainCapabilities: {
        fua: this.#random.chance(0.7),
        writeZeroes: this.#random.chance(0.7),
        fastZeroes: this.#random.chance(0.5),
        volatileCache: this.#random.chance(0.5),
      },
      spareCapabilities: { fua: this.#random.chance(0.7) },
      wrapMain: (main: BlockDevice) => new ZeroTeller(main),
    });
    this.#arena = new PagedArena(new ArrayBuffer(5 * 1024 * 1024), {
      remapBytes: 0,
      metadataBytes: 0,
      poison: true,
    });
    this.#server = new NbdServer({
      exports: [{ name: 'disk', device: this.#stack.device }],
      arena: this.#arena,
      clock: this.#stack.clock,
      limits: {
        connectionsMax: 16,
        deviceRequestBytesMax: this.#random.pick([4096, 1 << 20]),
        requestsInFlightMax: this.#random.pick([1, 2, 256]),
      },
    });
  }

  async run(): Promise<Met> {
    const { clock } = this.#stack;
    const connections = Array.from({ length: 3 }, (_, index) =>
      this.#connection(this.#random.fork(`connection ${index}`)),
    );
    let working = true;
    const work = Promise.all(connections).finally(() => {
      working = false;
    });
    const outages = this.#options.outages === true ? this.#comeAndGo(() => working) : Promise.resolve();
    await clock.run(Promise.all([work, outages]));
    assert.equal(await clock.run(this.#server.close(60_000)), 0);
    assert.equal(this.#arena.usedBytes, 0, 'the memory of all requests was given back');
    this.#met.remapped = this.#stack.core.table.totals().heldSectors;
    await finish(this.#stack, { lazyLost: true });
    return this.#met;
  }

  async #connection(chance: SeededRandom): Promise<void> {
    for (let session = 0; session < 3; session += 1) {
      const pair = memoryStreamPair();
      this.#server.serve(pair.server);
      const client = await connectNbd(pair.client, '');
      const workers = Array.from({ length: 3 }, (_, index) =>
        this.#worker(client, chance.fork(`${session} ${index}`)),
      );
      if (session < 2) {
        await delay(this.#stack.clock, 5 + chance.below(120));
        this.#met.cutConnections += 1;
        // Either nothing of it arrives any more, or all that was sent.
        await (chance.chance(0.5) ? pair.server : pair.client).close();
      }
      await Promise.all(workers);
      await client.close();
    }
  }

  async #worker(client: NbdClient, chance: SeededRandom): Promise<void> {
    try {
      for (let step = 0; step < 12; step += 1) {
        this.#disturb(chance);
        if (chance.chance(0.05)) this.#cutPower(chance);
        await this.#step(client, chance);
        this.#met.requests += 1;
      }
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
    }
  }

  async #step(client: NbdClient, chance: SeededRandom): Promise<void> {
    const first = chance.below(diskSectors);
    const count = 1 + chance.below(Math.min(40, diskSectors - first));
    const fua = chance.chance(0.3);
    const kind = chance.below(100);
    if (kind < 12) await this.#flush(client);
    else if (kind < 40) await this.#read(client, first, count);
    else if (kind < 47) await this.#status(client, first, count);
    else if (kind < 55) await this.#trim(client, first, count);
    else if (kind < 70) {
      const zeroes = {
        fua,
        noHole: chance.chance(0.3),
        fast: client.exported.fastZeroes && chance.chance(0.3),
      };
      await this.#change('zeros', first, count, fua, () =>
        client.writeZeroes(first * sectorBytes, count * sectorBytes, zeroes),
      );
    } else {
      await this.#change('data', first, count, fua, (version) =>
        client.write(versionPattern(first, count, version), first * sectorBytes, { fua }),
      );
    }
  }

  async #change(
    kind: 'data' | 'zeros',
    first: number,
    count: number,
    durable: boolean,
    send: (version: number) => Promise<void>,
  ): Promise<void> {
    const change = this.#judge.begin(kind, first, count);
    let succeeded = false;
    try {
      await send(change.version);
      succeeded = true;
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#judge.end(change, succeeded);
    }
    if (!succeeded) return;
    if (durable) this.#judge.makeDurable(change);
    else this.#volatile.add(change);
  }

  /** What a trim leaves is zeros or what was there: as if nobody knew whether zeroes were done. */
  async #trim(client: NbdClient, first: number, count: number): Promise<void> {
    const change = this.#judge.begin('zeros', first, count);
    try {
      await client.trim(first * sectorBytes, count * sectorBytes);
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#judge.end(change, false);
    }
  }

  async #flush(client: NbdClient): Promise<void> {
    const covered = [...this.#volatile];
    try {
      await client.flush();
    } catch (error) {
      this.#failed(error);
      // Nobody promised anything about what came before.
      for (const change of covered) this.#volatile.delete(change);
      return;
    }
    for (const change of covered) {
      // Another flush may have failed, or have covered it, meanwhile.
      if (this.#volatile.delete(change)) this.#judge.makeDurable(change);
    }
  }

  async #read(client: NbdClient, first: number, count: number): Promise<void> {
    const target = new Uint8Array(count * sectorBytes).fill(0xaa);
    const watch = this.#judge.watch(first, count);
    const failed = new Set<number>();
    try {
      await client.read(target, first * sectorBytes);
    } catch (error) {
      this.#failed(error);
      assert(error instanceof NbdRequestError);
      const whole = [{ offset: first * sectorBytes, length: count * sectorBytes }];
      for (const { offset, length } of error.failures ?? whole) {
        for (let at = offset; at < offset + length; at += sectorBytes) failed.add(at / sectorBytes);
      }
      if (failed.size < count) this.#met.partialReads += 1;
    } finally {
      this.#judge.stop(watch);
    }
    for (let sector = first; sector < first + count; sector += 1) {
      if (failed.has(sector)) continue;
      const at = (sector - first) * sectorBytes;
      this.#judge.check(watch, sector, target.subarray(at, at + sectorBytes));
    }
  }

  async #status(client: NbdClient, first: number, count: number): Promise<void> {
    const watch = this.#judge.watch(first, count);
    try {
      const descriptors = await client.allocation(first * sectorBytes, count * sectorBytes);
      let at = first;
      for (const { length, flags } of descriptors) {
        const end = Math.min(at + length / sectorBytes, first + count);
        for (; at < end; at += 1) {
          if ((flags & 2) === 0) continue;
          this.#met.zeroExtents += 1;
          this.#judge.checkZeros(watch, at);
        }
      }
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#judge.stop(watch);
    }
  }

  #failed(error: unknown): void {
    if (!(error instanceof NbdRequestError)) throw error;
    assert(
      [Errno.EIO, Errno.EOPNOTSUPP].some((errno) => errno === error.errno),
      error.message,
    );
  }

  /** What would be left if the power went now. */
  #cutPower(chance: SeededRandom): void {
    const { mainDisk, spareDisk, metadata, granuleBytes } = this.#stack;
    this.#met.powerCuts += 1;
    const table = metadata.replay();
    const main = mainDisk.afterPowerCut(chance).image;
    const spare = spareDisk.afterPowerCut(chance).image;
    const bytes = new Uint8Array(sectorBytes);
    const perGranule = granuleBytes / sectorBytes;
    for (let sector = 0; sector < diskSectors; sector += 1) {
      const granule = table.get(Math.floor(sector / perGranule));
      const bit = 1 << (sector % perGranule);
      if (granule !== undefined && (granule.gone & bit) !== 0) continue;
      if (granule !== undefined && granule.slot >= 0 && (granule.held & bit) !== 0) {
        spare.read(bytes, granule.slot * granuleBytes + (sector % perGranule) * sectorBytes);
      } else main.read(bytes, sector * sectorBytes);
      this.#judge.checkAfterCut(sector, bytes);
    }
  }

  #disturb(chance: SeededRandom): void {
    const sector = chance.below(diskSectors);
    const count = 1 + chance.below(3);
    const { mainDisk, spareDisk, metadata } = this.#stack;
    if (chance.chance(0.15)) mainDisk.faults.addBadSectors(sector, count, { on: 'write' });
    if (chance.chance(0.08)) {
      mainDisk.faults.addBadSectors(sector, count, { on: 'both', healOnWrite: chance.chance(0.5) });
    }
    if (chance.chance(0.05)) mainDisk.faults.removeBadSectors(sector, count * 8);
    if (chance.chance(0.05)) {
      mainDisk.faults.failNext(1, { kinds: [chance.pick(['write', 'read', 'write-zeroes', 'discard'])] });
    }
    if (chance.chance(0.03)) {
      const slots = spareOffsetSlots * 8;
      spareDisk.faults.addBadSectors(slots + chance.below(200), 1, { on: 'write' });
    }
    if (chance.chance(0.03)) metadata.failures.push('METADATA_NOT_COMMITTED');
    if (chance.chance(0.05)) {
      const { faults } = chance.pick([mainDisk, spareDisk]);
      faults.delayNext(1, { doneMs: 30 + chance.below(200) });
    }
  }

  async #comeAndGo(working: () => boolean): Promise<void> {
    const { clock, mainDisk, spareDisk } = this.#stack;
    const chance = this.#random.fork('outages');
    while (working()) {
      await delay(clock, chance.pick([3, 10, 60]) * (1 + chance.below(5)));
      const { faults } = chance.pick([mainDisk, spareDisk]);
      faults.setPathError(chance.pick([Errno.EIO, Errno.ENODEV, Errno.ETIMEDOUT]));
      await delay(clock, 1 + chance.below(chance.pick([10, 300])));
      faults.setPathError(undefined);
    }
  }
}

/** Tells which blocks are zeros, as a disk with thin provisioning does. */
class ZeroTeller extends FilterDevice {
  override async extents(offset: number, length: number): Promise<readonly Extent[]> {
    const extents: Extent[] = [];
    const block = new Uint8Array(this.geometry.logicalBlockBytes);
    for (let at = offset; at < offset + length; at += block.length) {
      const isZero = await this.below.read(block, at).then(
        () => block.every((byte) => byte === 0),
        () => false,
      );
      extents.push({ length: block.length, state: isZero ? 'hole' : 'data' });
    }
    return extents;
  }
}
