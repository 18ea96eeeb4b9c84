import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { BlockDevice } from '../../src/block/block-device.ts';
import { DeviceError } from '../../src/block/device-error.ts';
import { Errno } from '../../src/block/errno.ts';
import { AlignmentFilter } from '../../src/remap/request/alignment-filter.ts';
import { DeadlineDevice } from './deadline-device.ts';
import { finish, makeStack, patternOf, type Stack, writeSectors } from './remap-stack.ts';

/**
 * What a structured reply relies on: a rejected read names every failed range, and the bytes outside them are the disk's.
 * The buffer begins as bytes that nobody wrote.
 */

const sectors = 256;
const poison = 0xaa;

interface Outcome {
  readonly good: number;
  readonly bad: number;
}

/** Reads, and holds every sector that the error does not name against what was written; `zeroed` may be zeros instead. */
async function checkRead(
  stack: Stack,
  device: BlockDevice,
  first: number,
  count: number,
  mayBeZero: (sector: number) => boolean = () => false,
): Promise<Outcome> {
  const target = new Uint8Array(count * 512).fill(poison);
  let failed: readonly { offset: number; length: number }[] = [];
  try {
    await stack.clock.run(device.read(target, first * 512));
  } catch (error) {
    assert.ok(error instanceof DeviceError, String(error));
    failed = error.ranges;
    assert.ok(failed.length > 0);
  }
  const expected = patternOf(first, count);
  let bad = 0;
  let before = first * 512;
  for (const { offset, length } of failed) {
    assert.ok(
      offset >= before && length > 0 && offset + length <= (first + count) * 512,
      'ascending and inside',
    );
    before = offset + length;
  }
  for (let sector = first; sector < first + count; sector += 1) {
    const at = (sector - first) * 512;
    const named = failed.some(
      ({ offset, length }) => offset < (sector + 1) * 512 && offset + length > sector * 512,
    );
    if (named) {
      bad += 1;
      continue;
    }
    const bytes = target.subarray(at, at + 512);
    const isZero = mayBeZero(sector) && bytes.every((byte) => byte === 0);
    assert.ok(isZero || Buffer.compare(bytes, expected.subarray(at, at + 512)) === 0, `sector ${sector}`);
  }
  return { good: count - bad, bad };
}

const fault = fc.record({
  sector: fc.nat(sectors - 1),
  count: fc.integer({ min: 1, max: 12 }),
  place: fc.constantFrom('read' as const, 'slot' as const, 'slot gone' as const),
  readErrno: fc.constantFrom(Errno.ENODATA, Errno.EIO),
});
const range = fc.record({ first: fc.nat(sectors - 1), count: fc.integer({ min: 1, max: sectors }) });

/** Everything is written; then sectors of main go bad for reading, some after they moved, and some slots after that. */
async function breakStack(
  stack: Stack,
  faults: readonly (typeof fault extends fc.Arbitrary<infer T> ? T : never)[],
): Promise<void> {
  await writeSectors(stack, 0, patternOf(0, sectors));
  for (const { sector, count, place, readErrno } of faults) {
    const length = Math.min(count, sectors - sector);
    if (place !== 'read') {
      stack.mainDisk.faults.addBadSectors(sector, length, { on: 'write' });
      await writeSectors(
        stack,
        sector - (sector % 8),
        patternOf(sector - (sector % 8), Math.min(24, sectors - sector + (sector % 8))),
      );
    }
    if (place === 'slot gone') {
      const { slot } = stack.core.stateOf(Math.floor(sector / 8));
      if (slot >= 0)
        stack.spareDisk.faults.addBadSectors(slot * 8 + (sector % 8), 1, { on: 'read', readErrno });
    }
    if (place === 'read') stack.mainDisk.faults.addBadSectors(sector, length, { on: 'read', readErrno });
  }
}

describe('a read that fails in part', () => {
  for (const exactRanges of [false, true]) {
    it(`I27 leaves the disk’s own bytes outside the ranges it names (main names ${exactRanges ? 'exact ranges' : 'whole requests'})`, async () => {
      let partial = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.array(fault, { minLength: 1, maxLength: 8 }),
          fc.array(range, { minLength: 1, maxLength: 5 }),
          fc.boolean(),
          async (faults, ranges, zeroes) => {
            const stack = makeStack({ exactRanges, seed: 'partial' });
            await breakStack(stack, faults);
            if (zeroes) await stack.clock.run(stack.device.message(['policy', 'on-lost', 'zero']));
            const isLost = (sector: number): boolean => {
              const { unreadable, gone } = stack.core.stateOf(Math.floor(sector / 8));
              return zeroes && ((unreadable | gone) & (1 << (sector % 8))) !== 0;
            };
            for (const { first, count } of ranges) {
              const { good, bad } = await checkRead(
                stack,
                stack.device,
                first,
                Math.min(count, sectors - first),
                isLost,
              );
              if (good > 0 && bad > 0) partial += 1;
            }
            await stack.clock.runUntilIdle();
            await finish(stack);
          },
        ),
        { numRuns: 60 },
      );
      assert.ok(partial > 20, `${partial} reads failed in part`);
    });
  }

  it('I27 also through the filter for clients that send sectors over blocks of 4096', async () => {
    let partial = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fault, { minLength: 1, maxLength: 6 }),
        fc.array(range, { minLength: 1, maxLength: 5 }),
        async (faults, ranges) => {
          const stack = makeStack({ mainBlockBytes: 4096, spareBlockBytes: 4096, seed: 'filter' });
          const whole = faults.map((one) => ({ ...one, sector: one.sector - (one.sector % 8), count: 8 }));
          await breakStack(stack, whole);
          const filter = new AlignmentFilter(stack.device);
          for (const { first, count } of ranges) {
            const { good, bad } = await checkRead(stack, filter, first, Math.min(count, sectors - first));
            if (good > 0 && bad > 0) partial += 1;
          }
          await stack.clock.runUntilIdle();
          await finish(stack);
        },
      ),
      { numRuns: 40 },
    );
    assert.ok(partial > 10, `${partial} reads failed in part`);
  });

  it('I27 also beside it, in the raw view of main', async () => {
    let partial = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fault, { minLength: 1, maxLength: 6 }),
        fc.array(range, { minLength: 1, maxLength: 5 }),
        async (faults, ranges) => {
          const stack = makeStack({ seed: 'raw' });
          await breakStack(stack, faults);
          const raw = stack.device.rawView();
          for (const { first, count } of ranges) {
            const { good, bad } = await checkRead(stack, raw, first, Math.min(count, sectors - first));
            if (good > 0 && bad > 0) partial += 1;
          }
          await raw.close();
          await stack.clock.runUntilIdle();
          await finish(stack);
        },
      ),
      { numRuns: 40 },
    );
    assert.ok(partial > 10, `${partial} reads failed in part`);
  });

  it('I27 names all of a part of which main gives no answer, and delivers the mapped sectors beside it', async () => {
    let deadline: DeadlineDevice | undefined;
    const stack = makeStack({
      wrapMain: (below, clock) => {
        deadline = new DeadlineDevice(below, clock, 1000);
        return deadline;
      },
    });
    stack.mainDisk.faults.addBadSectors(80, 8, { on: 'write' });
    await writeSectors(stack, 64, patternOf(64, 64));
    assert.deepEqual(stack.core.stateOf(10).held, 0xff);
    stack.mainDisk.faults.stickNext(1, { kinds: ['read'], sector: 70 });
    const outcome = await checkRead(stack, stack.device, 64, 64);
    assert.equal(deadline!.timeouts, 1);
    assert.deepEqual(outcome, { good: 8 + 40, bad: 16 });
    stack.mainDisk.releaseStuck();
    await stack.clock.runUntilIdle();
    await finish(stack);
  });
});
