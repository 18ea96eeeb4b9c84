import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { AssertionFailure } from '../../src/block/assert.ts';
import { IoFlags, sectorBytes } from '../../src/block/block-device.ts';
import { DeviceError } from '../../src/block/device-error.ts';
import { Errno } from '../../src/block/errno.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { SimulatedDisk, type SimulatedDiskOptions } from '../../src/simulator/simulated-disk.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';

interface Setup {
  readonly clock: VirtualClock;
  readonly disk: SimulatedDisk;
}

function setup(seed: number | string, options: Partial<SimulatedDiskOptions> = {}): Setup {
  const random = new SeededRandom(seed);
  const clock = new VirtualClock(random.fork('clock'));
  const disk = new SimulatedDisk({ name: 'disk', sizeBytes: 64 * sectorBytes, clock, random, ...options });
  return { clock, disk };
}

/** Sectors filled with one byte each. */
function sectors(...bytes: number[]): Uint8Array {
  const image = new Uint8Array(bytes.length * sectorBytes);
  bytes.forEach((byte, index) => {
    image.fill(byte, index * sectorBytes, (index + 1) * sectorBytes);
  });
  return image;
}

/** The byte each sector is filled with; fails when one holds two. */
function fillsOf(image: Uint8Array): number[] {
  const fills: number[] = [];
  for (let at = 0; at < image.length; at += sectorBytes) {
    const sector = image.subarray(at, at + sectorBytes);
    assert.ok(
      sector.every((byte) => byte === sector[0]),
      'a sector is torn inside',
    );
    fills.push(sector[0]!);
  }
  return fills;
}

async function failureOf(promise: Promise<void>): Promise<DeviceError> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof DeviceError, String(error));
    return error;
  }
  return assert.fail('it did not fail');
}

describe('SimulatedDisk: cache, flush and power', () => {
  it('reads what was written, and holds it in the cache until a flush', async () => {
    const { clock, disk } = setup(1);
    const device = disk.open();
    await clock.run(device.write(sectors(1, 2, 3), 0));
    const target = new Uint8Array(3 * sectorBytes);
    await clock.run(device.read(target, 0));
    assert.deepEqual(fillsOf(target), [1, 2, 3]);
    assert.deepEqual(fillsOf(disk.durableImage.subarray(0, target.length)), [0, 0, 0]);
    assert.deepEqual(fillsOf(disk.cachedImage(0, target.length)), [1, 2, 3]);
    assert.equal(disk.unflushedSectorCount, 3);
    await clock.run(device.flush());
    assert.deepEqual(fillsOf(disk.durableImage.subarray(0, target.length)), [1, 2, 3]);
    assert.equal(disk.unflushedSectorCount, 0);
  });

  it('keeps every flushed and every FUA write over any power cut', async () => {
    for (let seed = 0; seed < 50; seed += 1) {
      const { clock, disk } = setup(seed);
      const device = disk.open();
      await clock.run(device.write(sectors(1, 1), 0));
      await clock.run(device.flush());
      await clock.run(device.write(sectors(2, 2), 2 * sectorBytes, IoFlags.fua));
      disk.powerCut();
      assert.deepEqual(fillsOf(disk.durableImage.subarray(0, 4 * sectorBytes)), [1, 1, 2, 2]);
      assert.equal(disk.faults.counts.powerCutLostSectors, 0);
    }
  });

  it('leaves any unflushed version, sector by sector: torn, reordered, old, new', async () => {
    const outcomes = new Set<string>();
    for (let seed = 0; seed < 400; seed += 1) {
      const { clock, disk } = setup(seed);
      const device = disk.open();
      await clock.run(device.write(sectors(1, 1), 0));
      await clock.run(device.write(sectors(2, 2), 0));
      disk.powerCut();
      const fills = fillsOf(disk.durableImage.subarray(0, 2 * sectorBytes));
      assert.ok(fills.every((fill) => fill <= 2));
      outcomes.add(fills.join());
      assert.deepEqual(disk.durableImage, disk.cachedImage(), 'a cold cache is empty');
    }
    assert.equal(outcomes.size, 9, [...outcomes].join(' '));
  });

  it('tears a write in flight', async () => {
    const outcomes = new Set<string>();
    for (let seed = 0; seed < 200; seed += 1) {
      const { clock, disk } = setup(seed, { latencyMinMs: 5, latencyMaxMs: 6 });
      void disk.open().write(sectors(1, 1), 0, IoFlags.fua);
      await clock.runFor(2);
      disk.powerCut();
      outcomes.add(fillsOf(disk.durableImage.subarray(0, 2 * sectorBytes)).join());
    }
    assert.deepEqual([...outcomes].sort(), ['0,0', '0,1', '1,0', '1,1']);
  });

  it('does not promise with a flush what is written while it runs', async () => {
    let lost = 0;
    for (let seed = 0; seed < 100; seed += 1) {
      const { clock, disk } = setup(seed);
      const device = disk.open();
      const flushed = device.flush();
      await clock.run(Promise.all([flushed, device.write(sectors(7), 0)]));
      disk.powerCut();
      if (disk.durableImage[0] === 0) lost += 1;
    }
    assert.ok(lost > 10 && lost < 90, `lost in ${lost} of 100 runs`);
  });

  it('completes overlapping requests in flight in any order', async () => {
    const outcomes = new Set<string>();
    for (let seed = 0; seed < 60; seed += 1) {
      const { clock, disk } = setup(seed);
      const device = disk.open();
      const target = new Uint8Array(sectorBytes);
      await clock.run(
        Promise.all([device.write(sectors(1), 0), device.write(sectors(2), 0), device.read(target, 0)]),
      );
      outcomes.add(`${fillsOf(target)} then ${fillsOf(disk.cachedImage(0, sectorBytes))}`);
    }
    assert.equal(outcomes.size, 6, [...outcomes].join(', '));
  });

  it('may keep sectors of a write that it had only just been given', async () => {
    const outcomes = new Set<string>();
    for (let seed = 0; seed < 200; seed += 1) {
      const { disk } = setup(seed, { onOperation: (_number, _kind, operation) => operation.disk.powerCut() });
      disk.faults.addBadSectors(1, 1, { on: 'write' });
      void disk.open().write(sectors(1, 1, 1), 0);
      outcomes.add(fillsOf(disk.durableImage.subarray(0, 3 * sectorBytes)).join());
    }
    assert.deepEqual([...outcomes].sort(), ['0,0,0', '0,0,1', '1,0,0', '1,0,1']);
  });

  it('goes on serving what was written while a flush made older versions durable', async () => {
    for (let seed = 0; seed < 100; seed += 1) {
      const { clock, disk } = setup(seed);
      const device = disk.open();
      await clock.run(device.write(sectors(1), 0));
      await clock.run(Promise.all([device.flush(), device.write(sectors(2), 0)]));
      assert.deepEqual(fillsOf(disk.cachedImage(0, sectorBytes)), [2]);
      await clock.run(device.flush());
      assert.equal(disk.durableImage[0], 2);
    }
  });

  it('without a write cache has every settled write on the media', async () => {
    const { clock, disk } = setup(4, { writeCache: 'none' });
    await clock.run(disk.open().write(sectors(5), 0));
    assert.equal(disk.durableImage[0], 5);
    assert.equal(disk.unflushedSectorCount, 0);
    void disk.open().write(sectors(6, 6, 6, 6), 0);
    disk.kill();
    assert.equal(disk.unflushedSectorCount, 0);
    assert.deepEqual(disk.durableImage, disk.cachedImage());
  });

  it('after a power cut answers nothing of the old process, and serves a new one', async () => {
    const { clock, disk } = setup(6);
    const old = disk.open();
    let answers = 0;
    const count = () => {
      answers += 1;
    };
    old.write(sectors(1), 0).then(count, count);
    disk.powerCut();
    old.read(new Uint8Array(sectorBytes), 0).then(count, count);
    old.flush().then(count, count);
    old.extents(0, sectorBytes).then(count, count);
    old.close().then(count, count);
    await clock.runUntilIdle();
    assert.equal(answers, 0);
    await clock.run(disk.open().write(sectors(2), 0));
  });

  it('after a kill keeps the cache, and finishes what was queued whole, in part or not at all', async () => {
    const outcomes = new Set<string>();
    for (let seed = 0; seed < 200; seed += 1) {
      const { clock, disk } = setup(seed);
      const device = disk.open();
      await clock.run(device.write(sectors(9), 4 * sectorBytes));
      void device.write(sectors(1, 1), 0);
      disk.kill();
      assert.equal(disk.cachedImage(4 * sectorBytes, sectorBytes)[0], 9);
      outcomes.add(fillsOf(disk.cachedImage(0, 2 * sectorBytes)).join());
      assert.equal(disk.faults.counts.kills, 1);
    }
    assert.equal(outcomes.size, 4);
  });

  it('can lose its power at every operation, at the same one in every run', async () => {
    const runOf = async (cutAt: number) => {
      const trace: string[] = [];
      const { clock, disk } = setup('same', {
        onOperation: (operationNumber, kind, operation) => {
          trace.push(`${operationNumber} ${kind} ${operation.phase}`);
          if (operationNumber === cutAt) operation.disk.powerCut();
        },
      });
      const device = disk.open();
      const work = async () => {
        await device.write(sectors(1, 2), 0);
        await device.flush();
        await device.read(new Uint8Array(sectorBytes), 0);
      };
      let done = false;
      void work().then(() => {
        done = true;
      });
      await clock.runUntilIdle();
      return { trace, done, fills: fillsOf(disk.durableImage.subarray(0, 2 * sectorBytes)) };
    };
    const whole = await runOf(0);
    assert.ok(whole.done);
    assert.deepEqual(whole.trace, [
      '1 write submit',
      '2 write settle',
      '3 flush submit',
      '4 flush settle',
      '5 read submit',
      '6 read settle',
    ]);
    for (let cutAt = 1; cutAt <= 6; cutAt += 1) {
      const cut = await runOf(cutAt);
      assert.deepEqual(await runOf(cutAt), cut);
      assert.deepEqual(cut.trace, whole.trace.slice(0, cutAt));
      assert.equal(cut.done, false);
      if (cutAt >= 5) assert.deepEqual(cut.fills, [1, 2]);
    }
  });
});

describe('SimulatedDisk: faults', () => {
  it('fails the whole request for one bad sector, and counts it', async () => {
    const { clock, disk } = setup(1);
    disk.faults.addBadSectors(2, 1, { on: 'both' });
    const device = disk.open();
    const readError = await clock.run(failureOf(device.read(new Uint8Array(4 * sectorBytes), 0)));
    assert.deepEqual(readError.ranges, [
      { offset: 0, length: 4 * sectorBytes, kind: 'medium', errno: Errno.ENODATA },
    ]);
    const writeError = await clock.run(failureOf(device.write(sectors(1, 1, 1, 1), 0)));
    assert.equal(writeError.errno, Errno.EIO);
    assert.equal(writeError.kind, 'suspect');
    assert.equal(disk.faults.counts.badSectorReads, 1);
    assert.equal(disk.faults.counts.badSectorWrites, 1);
    assert.deepEqual([...disk.faults.struckSectors('read')], [2]);
    assert.deepEqual([...disk.faults.struckSectors('write')], [2]);
    assert.equal(disk.counts.failed, 2);
  });

  it('writes the good sectors of a failing request, or not', async () => {
    const outcomes = new Set<string>();
    for (let seed = 0; seed < 100; seed += 1) {
      const { clock, disk } = setup(seed);
      disk.faults.addBadSectors(1, 1, { on: 'write' });
      await clock.run(failureOf(disk.open().write(sectors(1, 1, 1), 0)));
      outcomes.add(fillsOf(disk.cachedImage(0, 3 * sectorBytes)).join());
    }
    assert.deepEqual([...outcomes].sort(), ['0,0,0', '0,0,1', '1,0,0', '1,0,1']);
  });

  it('delivers the good sectors of a failing read, or not, and never invents the bad one', async () => {
    const outcomes = new Set<string>();
    for (let seed = 0; seed < 40; seed += 1) {
      const { clock, disk } = setup(seed);
      disk.load(sectors(1, 2, 3));
      disk.faults.addBadSectors(1, 1, { on: 'read' });
      const target = new Uint8Array(3 * sectorBytes);
      await clock.run(failureOf(disk.open().read(target, 0)));
      outcomes.add(fillsOf(target).join());
    }
    assert.deepEqual([...outcomes].sort(), ['1,238,3', '238,238,238']);
  });

  it('with exact ranges names whole blocks only, and does the rest', async () => {
    const { clock, disk } = setup(3, { exactRanges: true, logicalBlockBytes: 1024 });
    disk.faults.addBadSectors(3, 2, { on: 'both', readErrno: Errno.EIO });
    disk.faults.addBadSectors(9, 1, { on: 'both', readErrno: Errno.EIO });
    disk.load(sectors(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
    const device = disk.open();
    const target = new Uint8Array(12 * sectorBytes);
    const error = await clock.run(failureOf(device.read(target, 0)));
    assert.deepEqual(
      error.ranges.map((range) => [range.offset / sectorBytes, range.length / sectorBytes, range.kind]),
      [
        [2, 4, 'suspect'],
        [8, 2, 'suspect'],
      ],
    );
    const fills = fillsOf(target);
    assert.deepEqual([fills[0], fills[1], fills[6], fills[7], fills[10], fills[11]], [1, 2, 7, 8, 11, 12]);
    assert.deepEqual([fills[3], fills[4], fills[9]], [0xee, 0xee, 0xee]);
  });

  it('heals on write, as dust does', async () => {
    const { clock, disk } = setup(3);
    disk.faults.addBadSectors(0, 1, { on: 'read', healOnWrite: true });
    const device = disk.open();
    const target = new Uint8Array(sectorBytes);
    await clock.run(failureOf(device.read(target, 0)));
    assert.ok(target.every((byte) => byte === 0xee));
    await clock.run(device.write(sectors(8), 0));
    await clock.run(device.read(target, 0));
    assert.deepEqual(fillsOf(target), [8]);
    assert.equal(disk.faults.counts.healedSectors, 1);
    assert.equal(disk.faults.badSectorCount, 0);
  });

  it('fails the next requests of a scope and then recovers', async () => {
    const { clock, disk } = setup(3);
    disk.faults.failNext(2, { kinds: ['write'], sector: 5 });
    const device = disk.open();
    await clock.run(device.write(sectors(1), 4 * sectorBytes));
    await clock.run(device.flush());
    for (let round = 0; round < 2; round += 1) {
      const error = await clock.run(failureOf(device.write(sectors(1, 1), 4 * sectorBytes)));
      assert.equal(error.kind, 'transient');
    }
    await clock.run(device.write(sectors(2, 2), 4 * sectorBytes));
    assert.equal(disk.faults.counts.transient, 2);
  });

  it('means flushes by a scope of sectors only when it names them', async () => {
    const { clock, disk } = setup(3);
    const device = disk.open();
    disk.faults.failNext(1, { sector: 0 });
    await clock.run(device.flush());
    assert.equal(disk.faults.counts.transient, 0);
    disk.faults.failNext(1, { kinds: ['flush'], sector: 63 });
    assert.equal((await clock.run(failureOf(device.flush()))).kind, 'transient');
  });

  it('a failing flush loses nothing of a FUA write that is answered after it', async () => {
    for (let seed = 0; seed < 100; seed += 1) {
      const { clock, disk } = setup(seed);
      const device = disk.open();
      disk.faults.failFlush('once');
      await clock.run(Promise.all([failureOf(device.flush()), device.write(sectors(3), 0, IoFlags.fua)]));
      disk.powerCut();
      assert.equal(disk.durableImage[0], 3);
    }
  });

  it('fails everything, requests in flight too, while its path is gone', async () => {
    const { clock, disk } = setup(3);
    const device = disk.open();
    const pending = failureOf(device.write(sectors(1), 0));
    disk.faults.setPathError(Errno.ENODEV);
    assert.equal((await clock.run(pending)).kind, 'path');
    assert.equal((await clock.run(failureOf(device.read(new Uint8Array(512), 0)))).kind, 'path');
    assert.equal((await clock.run(failureOf(device.flush()))).kind, 'path');
    disk.faults.setPathError(undefined);
    await clock.run(device.flush());
    assert.equal(disk.faults.counts.path, 3);
  });

  it('a failing flush loses some of what was not flushed, and nothing that was', async () => {
    let dropped = 0;
    for (let seed = 0; seed < 30; seed += 1) {
      const { clock, disk } = setup(seed);
      const device = disk.open();
      await clock.run(device.write(sectors(1), 0, IoFlags.fua));
      await clock.run(device.write(sectors(2, 2, 2), sectorBytes));
      disk.faults.failFlush('once');
      assert.equal((await clock.run(failureOf(device.flush()))).kind, 'suspect');
      dropped += disk.faults.counts.droppedSectors;
      assert.equal(disk.cachedImage(0, sectorBytes)[0], 1);
      assert.equal(
        fillsOf(disk.cachedImage(sectorBytes, 3 * sectorBytes)).filter((fill) => fill === 0).length,
        disk.faults.counts.droppedSectors,
      );
      await clock.run(device.flush());
      assert.equal(disk.faults.counts.flush, 1);
    }
    assert.ok(dropped > 20 && dropped < 70);
  });

  it('leaves stuck requests without an answer, and without blocking others, until they are released', async () => {
    const early = new Set<number>();
    for (let seed = 0; seed < 40; seed += 1) {
      const { clock, disk } = setup(seed);
      const device = disk.open();
      disk.faults.stickNext(1, { kinds: ['write'] });
      let answered = false;
      void device.write(sectors(1), 0).then(() => {
        answered = true;
      });
      await clock.run(device.read(new Uint8Array(sectorBytes), sectorBytes));
      await clock.runFor(100_000);
      assert.equal(answered, false);
      assert.equal(device.inFlight, 1);
      early.add(disk.cachedImage(0, sectorBytes)[0]!);
      let closed = false;
      void device.close().then(() => {
        closed = true;
      });
      await clock.runUntilIdle();
      assert.equal(closed, false);
      disk.releaseStuck();
      await clock.runUntilIdle();
      assert.ok(answered && closed);
      assert.equal(disk.cachedImage(0, sectorBytes)[0], 1);
      assert.equal(disk.faults.counts.stuck, 1);
    }
    assert.equal(early.size, 2, 'a zombie write may reach the media before or after');
  });

  it('I27 notices a source that is changed while it is lent', async () => {
    const { clock, disk } = setup(3);
    const source = sectors(1);
    void disk.open().write(source, 0);
    source[0] = 99;
    await assert.rejects(clock.runUntilIdle(), AssertionFailure);
  });
});

const modelSectors = 20;

type Step =
  | {
      readonly verb: 'write' | 'write-zeroes';
      readonly sector: number;
      readonly count: number;
      readonly fua: boolean;
    }
  | { readonly verb: 'flush' | 'kill' | 'power' };

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    verb: fc.constantFrom('write', 'write-zeroes'),
    sector: fc.nat(15),
    count: fc.integer({ min: 1, max: 4 }),
    fua: fc.boolean(),
  }),
  fc.record({ verb: fc.constantFrom('flush', 'kill', 'power') }),
);

/** What each sector may hold: its durable value, and every value written since. */
class Model {
  readonly #durable = new Array<number>(modelSectors).fill(0);
  readonly #unflushed = Array.from({ length: modelSectors }, (): number[] => []);

  wrote(sector: number, count: number, value: number, durable: boolean): void {
    for (let at = sector; at < sector + count; at += 1) {
      if (durable) this.#settle(at, value);
      else this.#unflushed[at]!.push(value);
    }
  }

  check(fills: readonly number[], after: Step['verb']): void {
    fills.forEach((value, at) => {
      const versions = this.#unflushed[at]!;
      if (after === 'power') {
        const possible = [this.#durable[at], ...versions];
        assert.ok(possible.includes(value), `sector ${at} holds ${value}, not one of ${possible}`);
      } else assert.equal(value, versions.at(-1) ?? this.#durable[at]);
      if (after === 'power' || after === 'flush') this.#settle(at, value);
    });
  }

  #settle(at: number, value: number): void {
    this.#durable[at] = value;
    this.#unflushed[at] = [];
  }
}

describe('SimulatedDisk: model', () => {
  it('one client at a time sees a plain array of bytes, whatever happens between', async () => {
    const runSteps = async (seed: number, steps: readonly Step[]) => {
      const { clock, disk } = setup(seed, { sizeBytes: modelSectors * sectorBytes });
      const model = new Model();
      let device = disk.open();
      for (const [index, step] of steps.entries()) {
        if (step.verb === 'write' || step.verb === 'write-zeroes') {
          const value = step.verb === 'write' ? index + 1 : 0;
          const length = step.count * sectorBytes;
          const offset = step.sector * sectorBytes;
          const flags = step.fua ? IoFlags.fua : IoFlags.none;
          if (step.verb === 'write') {
            await clock.run(device.write(new Uint8Array(length).fill(value), offset, flags));
          } else await clock.run(device.writeZeroes(offset, length, flags));
          model.wrote(step.sector, step.count, value, step.fua);
        } else if (step.verb === 'flush') await clock.run(device.flush());
        else if (step.verb === 'kill') disk.kill();
        else disk.powerCut();
        if (step.verb === 'kill' || step.verb === 'power') device = disk.open();
        const image = new Uint8Array(modelSectors * sectorBytes);
        await clock.run(device.read(image, 0));
        model.check(fillsOf(image), step.verb);
      }
    };
    await fc.assert(fc.asyncProperty(fc.integer(), fc.array(anyStep, { maxLength: 40 }), runSteps), {
      numRuns: 100,
    });
  });
});
