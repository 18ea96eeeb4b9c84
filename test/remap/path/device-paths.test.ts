import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { BlockDevice } from '../../../src/block/block-device.ts';
import { delay } from '../../../src/block/clock.ts';
import { deviceError } from '../../../src/block/device-error.ts';
import { Errno } from '../../../src/block/errno.ts';
import { FilterDevice } from '../../../src/block/filter-device.ts';
import { SeededRandom } from '../../../src/simulator/seeded-random.ts';
import type { SimulatedDisk } from '../../../src/simulator/simulated-disk.ts';
import {
  failureOf,
  finish,
  makeStack,
  patternOf,
  readSectors,
  remappedGranules,
  type Stack,
  writeSectors,
} from '../remap-stack.ts';

/** A disk that can be pulled out: everything fails with ENODEV until it is opened anew, which works once it is back. */
class PulledDevice extends FilterDevice {
  present = true;
  /** Another disk is in its place. */
  foreign = false;
  #dead = false;
  reopens = 0;
  refusals = 0;

  override readonly reopen = (): Promise<void> => {
    if (!this.present || this.foreign) {
      this.refusals += 1;
      return Promise.reject(deviceError(this.name, 'path', 0, this.geometry.sizeBytes, Errno.ENODEV));
    }
    this.reopens += 1;
    this.#dead = false;
    return Promise.resolve();
  };

  pull(): void {
    this.present = false;
    this.#dead = true;
  }

  override read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.#unlessDead(offset, target.length, () => super.read(target, offset, flags));
  }

  override write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.#unlessDead(offset, source.length, () => super.write(source, offset, flags));
  }

  override flush(): Promise<void> {
    return this.#unlessDead(0, this.geometry.sizeBytes, () => super.flush());
  }

  async #unlessDead(offset: number, length: number, request: () => Promise<void>): Promise<void> {
    const gone = () => deviceError(this.name, 'path', offset, length, Errno.ENODEV);
    if (this.#dead) throw gone();
    await request();
    if (this.#dead) throw gone();
  }
}

function pulledBy(wrap: (options: { wrap: (below: BlockDevice) => BlockDevice }) => Stack): {
  stack: Stack;
  disk: PulledDevice;
} {
  let disk: PulledDevice | undefined;
  const stack = wrap({
    wrap: (below) => {
      disk = new PulledDevice(below);
      return disk;
    },
  });
  assert(disk !== undefined);
  return { stack, disk };
}

const pulledMain = () => pulledBy(({ wrap }) => makeStack({ wrapMain: wrap }));
const pulledSpare = () => pulledBy(({ wrap }) => makeStack({ wrapSpare: wrap }));

/** Granule 10 is bad on main and lives in a slot. */
async function remapGranule10(stack: Stack): Promise<void> {
  stack.mainDisk.faults.addBadSectors(80, 8, { on: 'both' });
  await writeSectors(stack, 80, patternOf(80, 8));
  assert.deepEqual(remappedGranules(stack), [10]);
}

async function flakes(stack: Stack, disk: SimulatedDisk, durationMs: number): Promise<void> {
  const { clock } = stack;
  const endMs = clock.nowMs() + durationMs;
  while (clock.nowMs() < endMs) {
    await delay(clock, 5000);
    disk.faults.setPathError(Errno.EIO);
    await delay(clock, 1000);
    disk.faults.setPathError(undefined);
  }
}

/** Writes and reads its own sectors until the time is over; every answer must be good, every byte the last one written. */
async function client(stack: Stack, number: number, durationMs: number): Promise<number> {
  const { clock, device } = stack;
  const random = new SeededRandom(`client ${number}`);
  const versions = new Map<number, number>();
  const endMs = clock.nowMs() + durationMs;
  let requests = 0;
  while (clock.nowMs() < endMs) {
    const sector = (random.below(60) * 4 + number) * 8;
    const version = versions.get(sector);
    if (version === undefined || random.chance(0.5)) {
      await device.write(patternOf(sector, 8, requests + 1), sector * 512);
      versions.set(sector, requests + 1);
    } else {
      const target = new Uint8Array(4096);
      await device.read(target, sector * 512);
      assert.deepEqual(target, patternOf(sector, 8, version));
    }
    requests += 1;
    await delay(clock, random.between(0, 60));
  }
  return requests;
}

describe('R17 a main that is away for a while', () => {
  it('ten minutes of 5 s up, 1 s down: no error, no remap, no mark', async () => {
    const stack = makeStack();
    const durationMs = 10 * 60_000;
    const all = Promise.all([0, 1].map((number) => client(stack, number, durationMs)));
    const [counts] = await stack.clock.run(Promise.all([all, flakes(stack, stack.mainDisk, durationMs)]));
    assert(
      counts.every((count) => count > 10_000),
      `${counts} requests`,
    );
    assert(stack.mainDisk.faults.counts.path >= 100, 'every outage struck');
    assert(stack.core.paths.mainReads.outages + stack.core.paths.mainWrites.outages >= 100);
    assert.equal(stack.core.table.totals().entries, 0);
    assert.equal(stack.spareDisk.counts.writes, 0);
    assert.equal(stack.device.status().state, 'ok');
    await finish(stack);
  });

  it('holds requests without a lock or a ticket, and sends them again when it answers', async () => {
    const stack = makeStack();
    await writeSectors(stack, 0, patternOf(0, 800));
    stack.mainDisk.faults.setPathError(Errno.EIO);
    const target = new Uint8Array(4096);
    const requests = Promise.all([
      stack.device.write(patternOf(40, 64, 2), 40 * 512),
      stack.device.read(target, 640 * 512),
    ]);
    await stack.clock.runFor(10_000);
    assert.equal(stack.device.status().state, 'main-failed');
    assert.equal(stack.core.paths.waiting, 2);
    assert.equal(stack.core.inFlight.count, 0);
    assert.equal(stack.core.locks.heldCount, 0);
    assert.equal(stack.arena.usedBytes, 0);
    stack.mainDisk.faults.setPathError(undefined);
    await stack.clock.run(requests);
    assert(stack.clock.nowMs() < 13_000);
    assert.deepEqual(target, patternOf(640, 8));
    assert.deepEqual(await readSectors(stack, 40, 64), patternOf(40, 64, 2));
    assert.equal(stack.device.status().state, 'ok');
    await finish(stack);
  });

  it('EIO when the path time-out is over; the policy is read anew by each request', async () => {
    for (const pathTimeoutMs of [0, 2000, 15_000]) {
      const stack = makeStack();
      stack.core.policies = { ...stack.core.policies, pathTimeoutMs };
      stack.mainDisk.faults.setPathError(Errno.EIO);
      const startMs = stack.clock.nowMs();
      const requests = [
        failureOf(stack.device.write(patternOf(40, 8), 40 * 512)),
        failureOf(stack.device.read(new Uint8Array(512), 0)),
      ];
      for (const error of await stack.clock.run(Promise.all(requests))) assert.equal(error.kind, 'path');
      const tookMs = stack.clock.nowMs() - startMs;
      assert(tookMs >= pathTimeoutMs && tookMs < pathTimeoutMs + 500, `${tookMs} ms`);
      const asked = stack.mainDisk.counts.settled;
      await failureOf(stack.clock.run(stack.device.read(new Uint8Array(512), 0)));
      assert(stack.mainDisk.counts.settled - asked <= 8, 'at most one round of probing');
      stack.mainDisk.faults.setPathError(undefined);
      await stack.clock.runFor(1000);
      await readSectors(stack, 0, 8);
      assert.equal(stack.core.table.totals().entries, 0);
      await finish(stack);
    }
  });

  it('a flush that has not been sent waits like a write, and has then not failed', async () => {
    const stack = makeStack();
    await writeSectors(stack, 0, patternOf(0, 8));
    stack.mainDisk.faults.setPathError(Errno.EIO);
    const reading = stack.device.read(new Uint8Array(512), 512);
    const writing = stack.device.write(patternOf(80, 8), 80 * 512);
    await stack.clock.runFor(500);
    const flushes = stack.mainDisk.counts.flushes;
    const flushing = stack.device.flush();
    await stack.clock.runFor(2000);
    assert.equal(stack.mainDisk.counts.flushes, flushes);
    stack.mainDisk.faults.setPathError(undefined);
    await stack.clock.run(Promise.all([reading, writing, flushing]));
    assert.equal(stack.mainDisk.counts.flushes, flushes + 1);
    await finish(stack);
  });

  it('R36 one sector with a path error, and all others well: its request waits, nobody else does', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.addBadSectors(800, 1, { on: 'both', readErrno: Errno.ENOLINK });
    let failedMs = 0;
    const failing = failureOf(stack.device.read(new Uint8Array(4096), 800 * 512)).then((error) => {
      failedMs = stack.clock.nowMs();
      return error;
    });
    let slowestMs = 0;
    while (failedMs === 0) {
      const startMs = stack.clock.nowMs();
      await stack.clock.run(stack.device.read(new Uint8Array(4096), 0));
      slowestMs = Math.max(slowestMs, stack.clock.nowMs() - startMs);
      await stack.clock.runFor(10);
    }
    assert.equal((await failing).errno, Errno.ENOLINK);
    assert(failedMs >= 15_000 && failedMs < 18_000, `${failedMs} ms`);
    assert(slowestMs <= 20, `a healthy read took ${slowestMs} ms`);
    assert(stack.mainDisk.faults.counts.badSectorReads < 30, 'asked with back-off');
    assert.equal(stack.core.paths.mainReads.outages, 0);
    await finish(stack);
  });

  it('I6 closing does not wait for it', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.setPathError(Errno.EIO);
    const held = failureOf(stack.device.write(patternOf(40, 8), 40 * 512));
    await stack.clock.runFor(1000);
    const startMs = stack.clock.nowMs();
    await stack.clock.run(stack.device.close());
    assert(stack.clock.nowMs() - startMs < 100);
    assert.equal((await held).kind, 'path');
    await finish(stack);
  });
});

describe('R5 a spare that is away for a while', () => {
  it('I/O on mapped granules and new remaps wait; nothing is retired; healthy I/O goes on', async () => {
    for (const errno of [Errno.ENODEV, Errno.EIO]) {
      const stack = makeStack();
      await remapGranule10(stack);
      stack.mainDisk.faults.addBadSectors(400, 1, { on: 'write' });
      stack.spareDisk.faults.setPathError(errno);
      const target = new Uint8Array(4096);
      const waiting = Promise.all([
        stack.device.read(target, 80 * 512),
        stack.device.write(patternOf(81, 2, 2), 81 * 512),
        stack.device.write(patternOf(400, 8), 400 * 512),
      ]);
      await stack.clock.runFor(5000);
      assert.equal(stack.device.status().state, 'spare-failed');
      assert.equal(stack.core.paths.spare.waiting, 3);
      assert.equal(stack.core.locks.heldCount, 0);
      assert.equal(stack.arena.usedBytes, 0);
      const startMs = stack.clock.nowMs();
      await writeSectors(stack, 600, patternOf(600, 8));
      await stack.clock.run(stack.device.flush());
      assert(stack.clock.nowMs() - startMs < 100, 'healthy I/O does not wait');
      stack.spareDisk.faults.setPathError(undefined);
      await stack.clock.run(waiting);
      assert(stack.spareDisk.faults.counts.path > 0);
      assert.equal(stack.device.status().slotsRetired, 0);
      assert.equal(stack.core.table.totals().goneSectors, 0);
      assert.deepEqual(remappedGranules(stack), [10, 50]);
      const expected = patternOf(80, 8);
      expected.set(patternOf(81, 2, 2), 512);
      assert.deepEqual(await readSectors(stack, 80, 8), expected);
      assert.deepEqual(await readSectors(stack, 400, 8), patternOf(400, 8));
      assert.equal(stack.device.status().state, 'ok');
      await finish(stack);
    }
  });
});

describe('R32 a disk that is pulled out and put back', () => {
  it('main: requests wait, the disk is opened anew, and one flush hears that writes are in doubt', async () => {
    const { stack, disk } = pulledMain();
    await writeSectors(stack, 0, patternOf(0, 8));
    disk.pull();
    const target = new Uint8Array(4096);
    const waiting = Promise.all([
      stack.device.write(patternOf(40, 64), 40 * 512),
      stack.device.read(target, 0),
    ]);
    await stack.clock.runFor(3000);
    assert.equal(stack.device.status().state, 'main-failed');
    assert(disk.refusals > 0);
    disk.present = true;
    await stack.clock.run(waiting);
    assert.equal(disk.reopens, 1);
    assert.deepEqual(target, patternOf(0, 8));
    assert.equal((await failureOf(stack.clock.run(stack.device.flush()))).kind, 'path');
    await stack.clock.run(stack.device.flush());
    assert.equal(stack.core.table.totals().entries, 0);
    await finish(stack);
  });

  it('with nothing unflushed no flush fails', async () => {
    const { stack, disk } = pulledMain();
    await writeSectors(stack, 0, patternOf(0, 8));
    await stack.clock.run(stack.device.flush());
    disk.pull();
    const reading = stack.device.read(new Uint8Array(512), 0);
    await stack.clock.runFor(500);
    disk.present = true;
    await stack.clock.run(reading);
    await stack.clock.run(stack.device.flush());
    await finish(stack);
  });

  it('pulled out again while the way for writes is still closed: the probes hear of it, and it is opened anew', async () => {
    const { stack, disk } = pulledMain();
    disk.pull();
    const reading = stack.device.read(new Uint8Array(512), 0);
    await stack.clock.runFor(500);
    disk.present = true;
    await stack.clock.run(reading);
    assert(stack.core.paths.mainWrites.failed, 'nobody has written since');
    disk.pull();
    const writing = stack.device.write(patternOf(40, 8), 40 * 512);
    await stack.clock.runFor(500);
    disk.present = true;
    await stack.clock.run(writing);
    assert.equal(disk.reopens, 2);
    assert.deepEqual(await readSectors(stack, 40, 8), patternOf(40, 8));
    await finish(stack);
  });

  it('a flush that finds it gone fails, the disk is opened anew, and the next one is good', async () => {
    const { stack, disk } = pulledMain();
    await writeSectors(stack, 0, patternOf(0, 8));
    disk.pull();
    assert.equal((await failureOf(stack.clock.run(stack.device.flush()))).errno, Errno.ENODEV);
    disk.present = true;
    // Waits for the disk, and hears that writes of before are in doubt (R7).
    assert.equal((await failureOf(stack.clock.run(stack.device.flush()))).kind, 'path');
    await stack.clock.run(stack.device.flush());
    assert.equal(disk.reopens, 1);
    await finish(stack);
  });

  it('another disk in its place is not taken: nothing is read from it or written to it', async () => {
    const { stack, disk } = pulledMain();
    await writeSectors(stack, 0, patternOf(0, 8));
    disk.pull();
    const failed = failureOf(stack.device.write(patternOf(40, 8), 40 * 512));
    await stack.clock.runFor(1000);
    disk.present = true;
    disk.foreign = true;
    const asked = stack.mainDisk.counts.settled;
    assert.equal((await stack.clock.run(failed)).kind, 'path');
    assert.equal(stack.device.status().state, 'main-failed');
    assert(disk.refusals > 3);
    assert.equal(stack.mainDisk.counts.settled, asked);
    disk.foreign = false;
    await stack.clock.runFor(2000);
    assert.deepEqual(await readSectors(stack, 0, 8), patternOf(0, 8));
    await failureOf(stack.clock.run(stack.device.flush()));
    await finish(stack);
  });

  it('the spare: a remap under way goes to a fresh slot, and nothing is lost', async () => {
    const { stack, disk } = pulledSpare();
    await remapGranule10(stack);
    // Into the slot, and not flushed.
    await writeSectors(stack, 80, patternOf(80, 8));
    stack.mainDisk.faults.addBadSectors(400, 8, { on: 'both' });
    const writing = stack.device.write(patternOf(400, 8), 400 * 512);
    const slotWrites = stack.spareDisk.counts.writes;
    while (stack.spareDisk.counts.writes === slotWrites) await stack.clock.runFor(0.1);
    const slot = stack.core.parts.allocator.usedSlots;
    disk.pull();
    await stack.clock.runFor(2000);
    assert.equal(stack.device.status().state, 'spare-failed');
    assert.equal(stack.core.parts.allocator.usedSlots, slot - 1, 'given back');
    disk.present = true;
    await stack.clock.run(writing);
    assert.equal(disk.reopens, 1);
    assert.equal(stack.device.status().slotsRetired, 0);
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
    assert.deepEqual(await readSectors(stack, 400, 8), patternOf(400, 8));
    // What clients wrote to the spare before is in doubt.
    await failureOf(stack.clock.run(stack.device.flush()));
    await stack.clock.run(stack.device.flush());
    await finish(stack);
  });
});

describe('R16 a main that fails writes everywhere', () => {
  it('says a medium error to every write: 31 granules are moved, then nothing until a good write', async () => {
    const stack = makeStack();
    const { faults } = stack.mainDisk;
    await writeSectors(stack, 0, patternOf(0, 2048));
    faults.addBadSectors(0, 2048, { on: 'write', writeErrno: Errno.ENODATA });
    const errors: string[] = [];
    const writeOne = async (index: number) => {
      const granule = (index * 37) % 256;
      try {
        await stack.device.write(patternOf(granule * 8, 8, 2), granule * 4096);
      } catch (error) {
        errors.push(String(error));
      }
    };
    for (let index = 0; index < 31; index += 1) await stack.clock.run(writeOne(index));
    assert.equal(remappedGranules(stack).length, 31, 'one by one each looks bad');
    const rest = Promise.all(Array.from({ length: 100 }, (_, index) => writeOne(31 + index)));
    await stack.clock.runFor(5000);
    assert.equal(stack.device.status().state, 'main-writes-failed');
    assert.deepEqual(errors, [], 'held, as R17 says');
    await stack.clock.run(rest);
    assert.equal(errors.length, 100);
    assert.equal(remappedGranules(stack).length, 31);
    assert.deepEqual(await readSectors(stack, 2000, 8), patternOf(2000, 8), 'reads go on');
    const startMs = stack.clock.nowMs();
    const asked = stack.mainDisk.counts.writes;
    await stack.clock.run(Promise.all(Array.from({ length: 50 }, (_, index) => writeOne(140 + index))));
    assert(stack.clock.nowMs() - startMs < 1000, 'EIO at once');
    assert(stack.mainDisk.counts.writes - asked <= 8, 'one round of probing at most');
    faults.removeBadSectors(0, 2048);
    await stack.clock.runFor(1000);
    errors.length = 0;
    await stack.clock.run(writeOne(250));
    assert.deepEqual(errors, []);
    assert.equal(stack.device.status().state, 'ok');
    assert.equal(remappedGranules(stack).length, 31);
    await finish(stack);
  });

  it('is left by `resume`, too', async () => {
    const stack = makeStack();
    await writeSectors(stack, 0, patternOf(0, 2048));
    stack.mainDisk.faults.addBadSectors(0, 2048, { on: 'write' });
    await failureOf(stack.clock.run(stack.device.write(patternOf(0, 8), 0)));
    assert.equal(stack.device.status().state, 'main-writes-failed');
    stack.mainDisk.faults.removeBadSectors(0, 2048);
    void stack.device.resume();
    await stack.clock.runFor(100);
    assert.equal(stack.device.status().state, 'ok');
    await finish(stack);
  });

  it('one good write between, and bad sectors are bad sectors: a thousand of them are moved', async () => {
    const stack = makeStack({ mainBytes: 16 << 20, spareBytes: 16 << 20 });
    for (let granule = 0; granule < 4096; granule += 4)
      stack.mainDisk.faults.addBadSectors(granule * 8, 1, { on: 'write', writeErrno: Errno.ENODATA });
    for (let granule = 0; granule < 4096; granule += 8) {
      await writeSectors(stack, granule * 8, patternOf(granule * 8, 64));
    }
    assert.equal(remappedGranules(stack).length, 1024);
    assert.equal(stack.core.paths.mainWrites.outages, 0);
    await finish(stack);
  });
});

describe('R17 a write that failed while the path was away for a moment', () => {
  it('is not moved: bad is what fails on both sides of a good probe', async () => {
    const stack = makeStack();
    await writeSectors(stack, 0, patternOf(0, 2048));
    const { faults } = stack.mainDisk;
    // The request and nothing behind it: when the probe asks, the path is back.
    for (let granule = 0; granule < 200; granule += 1) {
      faults.failNext(1, { kinds: ['write'], errno: Errno.EIO, sector: granule * 8, sectorCount: 8 });
      await writeSectors(stack, granule * 8, patternOf(granule * 8, 8, 2));
    }
    assert.equal(faults.counts.transient, 200);
    assert.deepEqual(remappedGranules(stack), []);
    assert.deepEqual(await readSectors(stack, 0, 1600), patternOf(0, 1600, 2));
    await finish(stack);
  });
});

describe('R5, M1 metadata that could not be written', () => {
  it('writes are refused, one a second tries to settle it, and all goes on when that succeeds', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.addBadSectors(80, 1, { on: 'write' });
    stack.metadata.failures.push('METADATA_FAILED');
    await failureOf(stack.clock.run(stack.device.write(patternOf(80, 1), 80 * 512)));
    assert.equal(stack.device.status().state, 'metadata-failed');
    for (let turn = 0; turn < 30; turn += 1) {
      await failureOf(stack.clock.run(stack.device.write(patternOf(300, 8), 300 * 512)));
      await stack.clock.runFor(100);
    }
    assert(stack.metadata.recoveries >= 2 && stack.metadata.recoveries <= 3);
    stack.metadata.recoverable = true;
    await stack.clock.runFor(1000);
    await writeSectors(stack, 80, patternOf(80, 1, 2));
    assert.deepEqual(await readSectors(stack, 80, 1), patternOf(80, 1, 2));
    assert.equal(stack.device.status().state, 'ok');
    await finish(stack);
  });

  it('`resume` settles it at once', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.addBadSectors(80, 1, { on: 'write' });
    stack.metadata.failures.push('METADATA_FAILED');
    await failureOf(stack.clock.run(stack.device.write(patternOf(80, 1), 80 * 512)));
    stack.metadata.recoverable = true;
    void stack.device.resume();
    await stack.clock.runFor(1);
    assert.equal(stack.device.status().state, 'ok');
    await writeSectors(stack, 80, patternOf(80, 1, 2));
    await finish(stack);
  });
});
