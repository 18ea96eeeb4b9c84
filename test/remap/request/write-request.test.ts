import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { apart, IoFlags, sectorBytes } from '../../../src/block/block-device.ts';
import { Errno } from '../../../src/block/errno.ts';
import { MemoryDevice } from '../../../src/block/memory-device.ts';
import { createMappedDevice } from '../../../src/mapping/create-mapped-device.ts';
import { StateFlags } from '../../../src/metadata/mapping-state.ts';
import { badSectorsOf, faultMap, faultMapNames, faultTable } from '../../fixtures/fault-tables.ts';
import { standardRegistry } from '../../fixtures/standard-registry.ts';
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

const sectorsOfGranule = 8;

function granulesOf(sectors: Iterable<number>): number[] {
  return [...new Set([...sectors].map((sector) => Math.floor(sector / sectorsOfGranule)))].toSorted(
    (a, b) => a - b,
  );
}

describe('a write over bad sectors of main', () => {
  it('succeeds, reads back, and remaps exactly the bad granules it touched (I17, R4)', async () => {
    for (const exactRanges of [false, true]) {
      const stack = makeStack({ exactRanges });
      stack.mainDisk.faults.addBadSectors(103, 1, { on: 'write' });
      stack.mainDisk.faults.addBadSectors(120, 2, { on: 'both' });
      stack.mainDisk.faults.addBadSectors(1500, 1, { on: 'both' });
      const bytes = patternOf(96, 64);
      await writeSectors(stack, 96, bytes);
      assert.deepEqual(await readSectors(stack, 96, 64), bytes);
      const struck = stack.mainDisk.faults.struckSectors('write');
      assert.equal(struck.size, 3, 'the injection happened');
      assert.deepEqual(remappedGranules(stack), granulesOf(struck));
      assert.equal(stack.device.status().counters.remaps, 2);
      await finish(stack);
    }
  });

  for (const name of faultMapNames) {
    it(`I17 fixture ${name}: the granules of the error targets that were written are the remapped ones`, async () => {
      const map = faultMap(name);
      const stack = await stackOverErrors(faultTable(map, 'error', 'disk').table, map.mainBytes);
      const granules = granulesOf(badSectorsOf(map));
      // Every bad place inside a request of 32 KiB, and healthy places between.
      for (const granule of [...granules, 300, 20_000]) {
        const sector = Math.max(0, granule * 8 - 24);
        await writeSectors(stack, sector, patternOf(sector, 64, granule + 1));
      }
      for (const granule of granules) {
        const bytes = await readSectors(stack, granule * 8, 8);
        const version = new DataView(bytes.buffer).getUint32(4, true);
        assert.deepEqual(bytes, patternOf(granule * 8, 8, version));
        assert.notEqual(version, 0);
      }
      assert.deepEqual(remappedGranules(stack), granules);
      const totals = stack.core.table.totals();
      assert.equal(totals.unreadableSectors + totals.goneSectors, 0);
      await finish(stack);
    });
  }

  it('I17 what is sent again is kept apart from its neighbours, also a single granule, and each slot from the next', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.addBadSectors(96, 8 * 8, { on: 'write' });
    const before = stack.counter.count;
    const one = stack.device.write(patternOf(96, 64), 96 * sectorBytes);
    const other = stack.device.write(patternOf(160, 8), 160 * sectorBytes);
    await stack.clock.run(Promise.all([one, other]));
    assert.deepEqual(remappedGranules(stack), [12, 13, 14, 15, 16, 17, 18, 19]);
    const sent = (device: Stack['main']): { offset: number; length: number; flags: number }[] =>
      device.operations.filter(
        ({ sequence, phase, kind }) => sequence > before && phase === 'submit' && kind === 'write',
      );
    const again = sent(stack.main).filter(({ flags }) => (flags & IoFlags.fua) === 0);
    for (const { offset, length, flags } of again) {
      const whole = length === 64 * sectorBytes || offset === 160 * sectorBytes;
      assert.equal(flags === IoFlags.none, whole, `${length} bytes at ${offset}`);
      const next = again.filter((other) => other.offset === offset + length && other.length === length);
      for (const neighbour of next) if (!whole) assert.notEqual(neighbour.flags, flags);
    }
    assert.ok(again.length > 8);
    const slots = sent(stack.spare).filter(({ length }) => length === stack.granuleBytes);
    for (const { offset, flags } of slots) assert.equal(flags, apart(offset / stack.granuleBytes));
    stack.mainDisk.faults.addBadSectors(400, 1, { on: 'write' });
    await writeSectors(stack, 400, patternOf(400, 8));
    const single = sent(stack.main).filter(({ offset }) => offset === 400 * sectorBytes);
    assert.deepEqual(
      single.map(({ flags }) => flags & ~IoFlags.fua),
      [IoFlags.none, apart(50)],
    );
    await finish(stack);
  });

  it('I13 the very next I/O goes to the spare, and to nothing else', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.addBadSectors(80, 8, { on: 'both' });
    await writeSectors(stack, 80, patternOf(80, 8));
    assert(stack.mainDisk.faults.counts.badSectorWrites > 0);
    const before = stack.counter.count;
    await writeSectors(stack, 80, patternOf(80, 8, 2));
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8, 2));
    const submits = (operations: readonly { sequence: number; phase: string; kind: string }[]) =>
      operations.filter(({ sequence, phase }) => sequence > before && phase === 'submit');
    assert.deepEqual(submits(stack.main.operations), []);
    assert.deepEqual(
      submits(stack.spare.operations).map(({ kind }) => kind),
      ['write', 'read'],
    );
    await finish(stack);
  });

  it('R9 leaves siblings that were not written on main', async () => {
    const stack = makeStack();
    await writeSectors(stack, 80, patternOf(80, 8, 1));
    stack.mainDisk.faults.addBadSectors(83, 1, { on: 'both' });
    await writeSectors(stack, 83, patternOf(83, 1, 2));
    assert.equal(stack.core.stateOf(10).held, 1 << 3);
    const slot = stack.spareDisk.cachedImage(stack.core.stateOf(10).slot * 4096, 4096);
    assert(
      slot.every((byte, at) => Math.floor(at / 512) === 3 || byte === 0),
      'no stray bytes in the slot',
    );
    const expected = patternOf(80, 8, 1);
    expected.set(patternOf(83, 1, 2), 3 * sectorBytes);
    assert.deepEqual(await readSectors(stack, 80, 8), expected);
    // A sibling goes on to main; both halves of a later write find their places.
    await writeSectors(stack, 82, patternOf(82, 3, 3));
    assert.deepEqual(await readSectors(stack, 82, 3), patternOf(82, 3, 3));
    assert.deepEqual(stack.mainDisk.cachedImage(82 * 512, 512), patternOf(82, 1, 3));
    assert.equal(stack.core.stateOf(10).held, 1 << 3);
    await finish(stack);
  });

  it('I12 keeps the order: data < flush < read back < record < acknowledgement', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.addBadSectors(160, 1, { on: 'write' });
    const before = stack.counter.count;
    await writeSectors(stack, 160, patternOf(160, 8));
    const acknowledged = stack.counter.next();
    const slot = stack.core.stateOf(20).slot;
    const steps = stack.spare.operations.filter(
      ({ sequence, kind, offset }) => sequence > before && (kind === 'flush' || offset === slot * 4096),
    );
    const sequenceOf = (kind: string, phase: string): number => {
      const found = steps.filter((step) => step.kind === kind && step.phase === phase);
      assert.equal(found.length, 1, `${kind} ${phase}: once`);
      return found[0]!.sequence;
    };
    const order = [
      sequenceOf('write', 'submit'),
      sequenceOf('write', 'settle'),
      sequenceOf('flush', 'submit'),
      sequenceOf('flush', 'settle'),
      sequenceOf('read', 'submit'),
      sequenceOf('read', 'settle'),
      stack.metadata.durable[0]!.sequence,
      acknowledged,
    ];
    assert.deepEqual(
      order,
      order.toSorted((a, b) => a - b),
    );
    assert.equal(new Set(order).size, order.length);
    await finish(stack);
  });

  it('R19 narrows within its budget, then relocates wholesale and says unverified', async () => {
    const stack = makeStack();
    // Every second granule of 512 KiB: far more than 64 failed sub-writes.
    for (let granule = 0; granule < 128; granule += 2)
      stack.mainDisk.faults.addBadSectors(granule * 8, 1, { on: 'write' });
    const bytes = patternOf(0, 1024);
    await writeSectors(stack, 0, bytes);
    assert.deepEqual(await readSectors(stack, 0, 1024), bytes);
    const remapped = remappedGranules(stack);
    for (let granule = 0; granule < 128; granule += 2) assert(remapped.includes(granule));
    const listed = remapped.filter((granule) => stack.core.stateOf(granule).flags === 1);
    const superset = remapped.filter((granule) => granule % 2 === 1);
    assert(superset.length > 0, 'the budget was spent');
    for (const granule of superset) assert(listed.includes(granule), `${granule} is listed as unverified`);
    await finish(stack);
  });

  it('R19 a slot that goes bad proves nothing of main: what was unverified is so still', async () => {
    const stack = makeStack();
    for (let granule = 0; granule < 128; granule += 2)
      stack.mainDisk.faults.addBadSectors(granule * 8, 1, { on: 'write' });
    await writeSectors(stack, 0, patternOf(0, 1024));
    const superset = remappedGranules(stack).filter((granule) => granule % 2 === 1);
    const [first, second] = superset as [number, number];
    const slots = [first, second].map((granule) => stack.core.stateOf(granule).slot);
    for (const slot of slots) stack.spareDisk.faults.addBadSectors(slot * 8, 8, { on: 'write' });
    await writeSectors(stack, first * 8, patternOf(7, 8));
    await writeSectors(stack, second * 8 + 2, patternOf(9, 1));
    for (const [index, granule] of [first, second].entries()) {
      const state = stack.core.stateOf(granule);
      assert.notEqual(state.slot, slots[index], 'it has left the bad slot');
      assert.equal(state.flags & StateFlags.unverified, StateFlags.unverified);
    }
    const home = await stack.clock.run(stack.device.message(['verify', String(first * 8), '8']));
    assert.match(home, /home 1,/);
    assert.deepEqual(await readSectors(stack, first * 8, 8), patternOf(7, 8));
    await finish(stack);
  });

  it('sends a transient failure again, a bounded number of times (R15)', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.failNext(3, { kinds: ['write'] });
    await writeSectors(stack, 40, patternOf(40, 8));
    assert.equal(stack.mainDisk.faults.counts.transient, 3);
    assert.deepEqual(await readSectors(stack, 40, 8), patternOf(40, 8));
    stack.mainDisk.faults.failNext(20, { kinds: ['write'] });
    const error = await failureOf(stack.clock.run(stack.device.write(patternOf(40, 8), 40 * 512)));
    assert.equal(error.kind, 'transient');
    assert(stack.mainDisk.faults.counts.transient <= 3 + 5);
    assert.deepEqual(remappedGranules(stack), []);
    await finish(stack);
  });

  it('capacity, refusal and path errors never remap (R15)', async () => {
    for (const errno of [Errno.ENOSPC, Errno.EROFS, Errno.ENOLINK]) {
      const stack = makeStack();
      stack.mainDisk.faults.addBadSectors(40, 1, { on: 'write', writeErrno: errno });
      const error = await failureOf(stack.clock.run(stack.device.write(patternOf(40, 8), 40 * 512)));
      assert.equal(error.errno, errno);
      assert(stack.mainDisk.faults.counts.badSectorWrites > 0);
      assert.deepEqual(remappedGranules(stack), []);
      assert.equal(stack.spareDisk.counts.writes, 0);
      assert.equal(stack.device.status().state, 'ok', 'main works elsewhere');
      await finish(stack);
    }
  });

  it('a main that fails everywhere with EIO is not remapped, and serves again when it answers (R15, R16)', async () => {
    const stack = makeStack();
    await writeSectors(stack, 0, patternOf(0, 8));
    stack.mainDisk.faults.setPathError(Errno.EIO);
    const error = await failureOf(stack.clock.run(stack.device.write(patternOf(0, 64, 2), 0)));
    assert.equal(error.kind, 'path');
    assert.equal(stack.device.status().state, 'main-failed');
    assert(stack.mainDisk.faults.counts.path > 0);
    await failureOf(stack.clock.run(stack.device.read(new Uint8Array(4096), 0)));
    assert.equal(stack.core.table.totals().entries, 0, 'nothing is remapped, nothing marked');
    stack.mainDisk.faults.setPathError(undefined);
    await stack.clock.runFor(1001);
    await writeSectors(stack, 0, patternOf(0, 64, 3));
    assert.deepEqual(await readSectors(stack, 0, 64), patternOf(0, 64, 3));
    assert.equal(stack.device.status().state, 'ok');
    await finish(stack);
  });

  it('works on a main and a spare that know flushes but no FUA', async () => {
    const stack = makeStack({ mainCapabilities: { fua: false }, spareCapabilities: { fua: false } });
    stack.mainDisk.faults.addBadSectors(80, 1, { on: 'both' });
    await writeSectors(stack, 80, patternOf(80, 8), IoFlags.fua);
    await writeSectors(stack, 200, patternOf(200, 8), IoFlags.fua);
    await writeSectors(stack, 80, patternOf(80, 8, 2), IoFlags.fua);
    assert.deepEqual(remappedGranules(stack), [10]);
    assert.deepEqual(stack.mainDisk.durableImage.slice(200 * 512, 208 * 512), patternOf(200, 8));
    const slot = stack.core.stateOf(10).slot * 4096;
    assert.deepEqual(stack.spareDisk.durableImage.slice(slot, slot + 4096), patternOf(80, 8, 2));
    await finish(stack);
  });

  it('R7 a flush that fails behind a FUA write fails the write as the path, and remaps nothing', async () => {
    const stack = makeStack({ mainCapabilities: { fua: false } });
    stack.mainDisk.faults.failFlush('once');
    const bytes = patternOf(1000, 64);
    const error = await failureOf(stack.clock.run(stack.device.write(bytes, 1000 * 512, IoFlags.fua)));
    assert.equal(stack.mainDisk.faults.counts.flush, 1);
    assert.deepEqual(
      error.ranges.map(({ offset, length, kind }) => [offset, length, kind]),
      [[1000 * 512, 64 * 512, 'path']],
    );
    assert.deepEqual(remappedGranules(stack), []);
    assert.equal(stack.mainDisk.counts.writes, 1, 'written once, never narrowed');
    await failureOf(stack.clock.run(stack.device.flush()));
    await stack.clock.run(stack.device.flush());
    await finish(stack);
  });

  it('FUA data is durable when the write settles, on main and in a slot', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.addBadSectors(80, 1, { on: 'both' });
    await writeSectors(stack, 72, patternOf(72, 8), IoFlags.fua);
    await writeSectors(stack, 80, patternOf(80, 8), 0);
    await writeSectors(stack, 80, patternOf(80, 8, 2), IoFlags.fua);
    assert.deepEqual(stack.mainDisk.durableImage.slice(72 * 512, 80 * 512), patternOf(72, 8));
    const slot = stack.core.stateOf(10).slot * 4096;
    assert.deepEqual(stack.spareDisk.durableImage.slice(slot, slot + 4096), patternOf(80, 8, 2));
    await finish(stack);
  });

  it('32 writers of one granule, a sector each, all succeed after few tries of the bad sectors (R2)', async () => {
    const stack = makeStack({ granuleBytes: 16_384, spareBytes: 4 << 20 });
    stack.mainDisk.faults.addBadSectors(320, 32, { on: 'write' });
    const writes = Array.from({ length: 32 }, (_, index) =>
      stack.device.write(patternOf(320 + index, 1), (320 + index) * 512),
    );
    await stack.clock.run(Promise.all(writes));
    assert.deepEqual(await readSectors(stack, 320, 32), patternOf(320, 32));
    assert.deepEqual(remappedGranules(stack), [10]);
    assert(stack.mainDisk.faults.counts.badSectorWrites <= 64, 'no writer asks main for every other one');
    await finish(stack);
  });

  it('I3, I14 ten thousand concurrent bad writes with 64 KiB for remaps complete', async () => {
    const count = 10_000;
    const many = makeStack({
      mainBytes: count * 4096 + (1 << 20),
      spareBytes: (count + 100) * 4096,
      remapBytes: 64 * 1024,
      seed: 'many',
    });
    // The last mebibyte stays good, and has shown it: whoever probes must find a device that works (R16).
    await writeSectors(many, count * 8, patternOf(count * 8, 8));
    many.mainDisk.faults.addBadSectors(0, count * 8, { on: 'write', writeErrno: Errno.ENODATA });
    const writes = Array.from({ length: count }, (_, granule) =>
      many.device.write(patternOf(granule * 8, 8), granule * 4096),
    );
    await many.clock.run(Promise.all(writes));
    assert.equal(many.core.table.totals().remappedGranules, count);
    assert.deepEqual(await readSectors(many, 79_992, 8), patternOf(79_992, 8));
    await finish(many);
  });
});

async function stackOverErrors(table: string, mainBytes: number): Promise<Stack> {
  const disk = new MemoryDevice({ sizeBytes: mainBytes });
  const registry = standardRegistry();
  const openDevice = () => Promise.resolve(disk);
  const main = await createMappedDevice({ name: 'faulty', table, registry, openDevice });
  return makeStack({ main, mainBytes: 1 << 20, spareBytes: 1 << 20 });
}
