import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { IoFlags } from '../../../src/block/block-device.ts';
import { DeviceError } from '../../../src/block/device-error.ts';
import { Errno } from '../../../src/block/errno.ts';
import { defaultPolicies } from '../../../src/remap/policies.ts';
import { AlignmentFilter } from '../../../src/remap/request/alignment-filter.ts';
import {
  failedSectors,
  failureOf,
  finish,
  makeStack,
  patternOf,
  remappedGranules,
  type Stack,
  type StackOptions,
} from '../remap-stack.ts';

interface Aligned extends Stack {
  readonly filter: AlignmentFilter;
}

/** Disks with blocks of 4096 bytes, and a client that knows of 512 only. */
function aligned(options: StackOptions = {}): Aligned {
  const stack = makeStack({ mainBlockBytes: 4096, spareBlockBytes: 4096, ...options });
  return { ...stack, filter: new AlignmentFilter(stack.device) };
}

function write(stack: Aligned, sector: number, bytes: Uint8Array, flags = 0): Promise<void> {
  return stack.clock.run(stack.filter.write(bytes, sector * 512, flags));
}

async function read(stack: Aligned, sector: number, sectorCount: number): Promise<Uint8Array> {
  const target = new Uint8Array(sectorCount * 512).fill(0xaa);
  await stack.clock.run(stack.filter.read(target, sector * 512));
  return target;
}

describe('a client that sends sectors over disks with larger blocks', () => {
  it('R11 reads and writes any sectors, and the rest of each block stays', async () => {
    const stack = aligned();
    assert.equal(stack.filter.geometry.logicalBlockBytes, 512);
    await write(stack, 0, patternOf(0, 64));
    await write(stack, 3, patternOf(3, 2, 2));
    await write(stack, 13, patternOf(13, 14, 3));
    const expected = patternOf(0, 64);
    expected.set(patternOf(3, 2, 2), 3 * 512);
    expected.set(patternOf(13, 14, 3), 13 * 512);
    assert.deepEqual(await read(stack, 0, 64), expected);
    assert.deepEqual(await read(stack, 2, 13), expected.slice(2 * 512, 15 * 512));
    assert.equal((await failureOf(stack.filter.read(new Uint8Array(100), 0))).kind, 'invalid');
    await finish(stack);
  });

  it('R11 eight writers of one block, through the filter and past it, lose nothing', async () => {
    for (const on of ['healthy', 'both'] as const) {
      for (let seed = 0; seed < 10; seed += 1) {
        const stack = aligned({ seed: `writers ${seed}` });
        if (on === 'both') stack.mainDisk.faults.addBadSectors(80, 8, { on });
        await write(stack, 80, patternOf(80, 16));
        const writes = Array.from({ length: 8 }, (_, at) =>
          stack.filter.write(patternOf(80 + at, 1, 2), (80 + at) * 512),
        );
        writes.push(stack.device.write(patternOf(88, 8, 2), 88 * 512));
        await stack.clock.run(Promise.all(writes));
        assert.deepEqual(await read(stack, 80, 16), patternOf(80, 16, 2), `seed ${seed}`);
        await finish(stack);
      }
    }
  });

  it('R11 a part of a block that main cannot write moves the block', async () => {
    const stack = aligned();
    await write(stack, 80, patternOf(80, 8));
    stack.mainDisk.faults.addBadSectors(80, 8, { on: 'write' });
    await write(stack, 83, patternOf(83, 1, 2), IoFlags.fua);
    assert.deepEqual(remappedGranules(stack), [10]);
    const expected = patternOf(80, 8);
    expected.set(patternOf(83, 1, 2), 3 * 512);
    assert.deepEqual(await read(stack, 80, 8), expected);
    const slot = stack.core.stateOf(10).slot * 4096;
    assert.deepEqual(stack.spareDisk.durableImage.slice(slot, slot + 4096), expected);
    await finish(stack);
  });

  it('R9, R11 a write that covers a part of a lost sector fails, and changes nothing, also of its other blocks', async () => {
    const stack = aligned();
    await write(stack, 72, patternOf(72, 32));
    stack.mainDisk.faults.addBadSectors(88, 8, { on: 'read' });
    const before = stack.mainDisk.cachedImage();
    const error = await failureOf(write(stack, 74, patternOf(74, 16, 2)));
    assert.equal(error.kind, 'medium');
    assert.equal(stack.device.status().unreadableSectors, 8, 'lost by now');
    const again = await failureOf(write(stack, 74, patternOf(74, 16, 3)));
    assert.equal(again.kind, 'lost');
    assert.equal(again.errno, Errno.EIO);
    assert.deepEqual(stack.mainDisk.cachedImage(), before);
    assert.deepEqual(remappedGranules(stack), []);
    const parts = await failureOf(read(stack, 84, 8));
    assert.deepEqual(failedSectors(parts), [88, 89, 90, 91]);
    await write(stack, 88, patternOf(88, 8, 2));
    assert.deepEqual(await read(stack, 88, 8), patternOf(88, 8, 2), 'a whole one is written as ever');
    await finish(stack);
  });

  it('R11, R12 the zeros that a reader may get for lost sectors never become the rest of a block', async () => {
    const stack = aligned();
    await write(stack, 80, patternOf(80, 8));
    stack.mainDisk.faults.addBadSectors(80, 8, { on: 'read' });
    stack.core.policies = { ...defaultPolicies, onLost: 'zero' };
    assert.ok((await read(stack, 80, 8)).every((byte) => byte === 0));
    assert.equal((await failureOf(write(stack, 83, patternOf(83, 1, 2)))).kind, 'lost');
    stack.mainDisk.faults.removeBadSectors(80, 8);
    assert.deepEqual(stack.mainDisk.cachedImage(80 * 512, 4096), patternOf(80, 8));
    await finish(stack);
  });

  it('R11, R13 a part of a block that was never written has zeros around it', async () => {
    const stack = aligned({ mainBytes: 4 << 20, fresh: true });
    stack.mainDisk.faults.addBadSectors(80, 8, { on: 'both' });
    await write(stack, 83, patternOf(83, 1));
    const expected = new Uint8Array(4096);
    expected.set(patternOf(83, 1), 3 * 512);
    assert.deepEqual(await read(stack, 80, 8), expected);
    assert.deepEqual(remappedGranules(stack), [10]);
    await finish(stack);
  });

  it('R11, R17 a part waits for a main that is away, and nothing is remapped', async () => {
    const stack = aligned();
    await write(stack, 80, patternOf(80, 8));
    stack.mainDisk.faults.setPathError(Errno.EIO);
    const writing = stack.filter.write(patternOf(83, 1, 2), 83 * 512);
    await stack.clock.runFor(5000);
    stack.mainDisk.faults.setPathError(undefined);
    await stack.clock.run(writing);
    assert.ok(stack.mainDisk.faults.counts.path > 0);
    const expected = patternOf(80, 8);
    expected.set(patternOf(83, 1, 2), 3 * 512);
    assert.deepEqual(await read(stack, 80, 8), expected);
    assert.deepEqual(remappedGranules(stack), []);
    await finish(stack);
  });

  it('R11, R17 a main that stays away is an error, and its bytes are as they were', async () => {
    const stack = aligned();
    await write(stack, 80, patternOf(80, 8));
    stack.core.policies = { ...defaultPolicies, pathTimeoutMs: 1000 };
    stack.mainDisk.faults.setPathError(Errno.ENODEV);
    assert.equal((await failureOf(write(stack, 83, patternOf(83, 1, 2)))).kind, 'path');
    stack.mainDisk.faults.setPathError(undefined);
    await stack.clock.runFor(3000);
    assert.deepEqual(await read(stack, 80, 8), patternOf(80, 8));
    assert.deepEqual(remappedGranules(stack), []);
    await finish(stack);
  });

  it('R7, R11 a flush that fails behind a part fails it, and is not tried again', async () => {
    const stack = aligned({ mainCapabilities: { fua: false } });
    await write(stack, 80, patternOf(80, 8));
    await stack.clock.run(stack.device.flush());
    stack.mainDisk.faults.failFlush('once');
    const { flushes } = stack.mainDisk.counts;
    const error = await failureOf(write(stack, 83, patternOf(83, 1, 2), IoFlags.fua));
    assert.equal(error.kind, 'path');
    assert.equal(stack.mainDisk.counts.flushes, flushes + 1);
    await assert.rejects(stack.clock.run(stack.device.flush()), DeviceError);
    await finish(stack);
  });

  it('R20, R21 discards whole blocks only, and zeros exactly', async () => {
    const stack = aligned();
    await write(stack, 64, patternOf(64, 40));
    await stack.clock.run(stack.filter.writeZeroes(70 * 512, 20 * 512));
    const expected = patternOf(64, 40).fill(0, 6 * 512, 26 * 512);
    assert.deepEqual(await read(stack, 64, 40), expected);
    const fast = stack.filter.writeZeroes(70 * 512, 512, IoFlags.onlyIfFast);
    assert.equal((await failureOf(fast)).kind, 'unsupported');
    await stack.clock.run(stack.filter.discard(65 * 512, 6 * 512));
    assert.equal(stack.mainDisk.counts.discards, 0);
    await stack.clock.run(stack.filter.discard(65 * 512, 16 * 512));
    const [discarded] = stack.main.operations.filter(({ kind }) => kind === 'discard');
    assert.deepEqual([discarded?.offset, discarded?.length], [72 * 512, 8 * 512]);
    await finish(stack);
  });

  it('R29 cuts extents to what was asked', async () => {
    const stack = aligned();
    stack.mainDisk.faults.addBadSectors(80, 8, { on: 'both' });
    await write(stack, 80, patternOf(80, 8));
    const extents = await stack.filter.extents(75 * 512, 20 * 512);
    assert.deepEqual(
      extents.map(({ length, state }) => `${state} ${length / 512}`),
      ['data 5', 'remapped 8', 'data 7'],
    );
    await finish(stack);
  });

  it('R11 behaves as an array of bytes under any sequence of writes and reads', async () => {
    const step = fc.record({
      what: fc.constantFrom('read', 'write', 'zero'),
      first: fc.nat(95),
      count: fc.integer({ min: 1, max: 40 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), fc.nat(), async (steps, seed) => {
        const stack = aligned({ granuleBytes: 8192, seed: String(seed) });
        for (const sector of [0, 32, 40, 72]) stack.mainDisk.faults.addBadSectors(sector, 8, { on: 'both' });
        const model = patternOf(0, 136);
        await write(stack, 0, model);
        for (const [version, { what, first, count }] of steps.entries()) {
          const [from, to] = [first * 512, (first + count) * 512];
          if (what === 'write') {
            model.set(patternOf(first, count, version + 2), from);
            await write(stack, first, model.slice(from, to));
          } else if (what === 'zero') {
            model.fill(0, from, to);
            await stack.clock.run(stack.filter.writeZeroes(from, to - from));
          } else {
            assert.deepEqual(await read(stack, first, count), model.slice(from, to));
          }
        }
        assert.deepEqual(await read(stack, 0, 136), model);
        await finish(stack);
      }),
      { numRuns: 20 },
    );
  });

  it('passes what is whole, and errors as they are', async () => {
    const stack = aligned();
    await write(stack, 0, patternOf(0, 8));
    assert.equal(stack.mainDisk.counts.reads, 0, 'nothing was read for it');
    await stack.clock.run(stack.device.close());
    await assert.rejects(read(stack, 1, 1), DeviceError);
    await assert.rejects(write(stack, 1, patternOf(1, 1)), DeviceError);
    await finish(stack);
  });
});
