import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { IoFlags } from '../../../src/block/block-device.ts';
import { DeviceError } from '../../../src/block/device-error.ts';
import { Errno } from '../../../src/block/errno.ts';
import { zeroPartBytesMax } from '../../../src/remap/request/zero-request.ts';
import {
  failedRead,
  failureOf,
  finish,
  makeStack,
  patternOf,
  readSectors,
  remappedGranules,
  type Stack,
  writeSectors,
} from '../remap-stack.ts';

function writeZeroes(stack: Stack, sector: number, sectorCount: number, flags?: number): Promise<void> {
  return stack.clock.run(stack.device.writeZeroes(sector * 512, sectorCount * 512, flags));
}

/** What main was asked to zero by itself, in sectors. */
function zeroings({ main }: Stack): { sector: number; sectorCount: number }[] {
  return main.operations
    .filter(({ kind, phase }) => kind === 'write-zeroes' && phase === 'submit')
    .map(({ offset, length }) => ({ sector: offset / 512, sectorCount: length / 512 }));
}

describe('write-zeroes', () => {
  it('R21 is done by main in pieces of at most 1 MiB, exactly', async () => {
    const stack = makeStack({ mainBytes: 4 << 20 });
    await writeSectors(stack, 0, patternOf(0, 8192));
    await writeZeroes(stack, 1000, 6000);
    const pieces = zeroings(stack);
    assert.equal(pieces.length, 4);
    for (const { sectorCount } of pieces) assert.ok(sectorCount * 512 <= zeroPartBytesMax);
    const expected = patternOf(0, 8192).fill(0, 1000 * 512, 7000 * 512);
    assert.deepEqual(await readSectors(stack, 0, 8192), expected);
    assert.equal(stack.mainDisk.counts.writes, 1, 'no zeros were written by us');
    await finish(stack);
  });

  it('R21 puts zeros into the slots of mapped sectors', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.addBadSectors(80, 8, { on: 'both' });
    await writeSectors(stack, 64, patternOf(64, 64));
    assert.deepEqual(remappedGranules(stack), [10]);
    await writeZeroes(stack, 83, 20);
    const expected = patternOf(64, 64).fill(0, (83 - 64) * 512, (103 - 64) * 512);
    assert.deepEqual(await readSectors(stack, 64, 64), expected);
    const slot = stack.core.stateOf(10).slot * 4096;
    assert.deepEqual(stack.spareDisk.cachedImage(slot, 4096), expected.slice(16 * 512, 24 * 512));
    assert.deepEqual(remappedGranules(stack), [10]);
    await finish(stack);
  });

  it('R21 a piece that fails becomes plain writes: narrowed, and exactly the bad granules remapped', async () => {
    const stack = makeStack({ mainBytes: 4 << 20 });
    await writeSectors(stack, 0, patternOf(0, 4096));
    stack.mainDisk.faults.addBadSectors(203, 1, { on: 'both' });
    stack.mainDisk.faults.addBadSectors(3001, 1, { on: 'both' });
    await writeZeroes(stack, 100, 3900);
    assert.deepEqual(remappedGranules(stack), [25, 375]);
    assert.deepEqual([...stack.mainDisk.faults.struckSectors('write')], [203, 3001]);
    const expected = patternOf(0, 4096).fill(0, 100 * 512, 4000 * 512);
    assert.deepEqual(await readSectors(stack, 0, 4096), expected);
    await finish(stack);
  });

  it('R21, R23 clears the marks of lost sectors as a write does', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.addBadSectors(80, 1, { on: 'read', healOnWrite: true });
    stack.mainDisk.faults.addBadSectors(96, 1, { on: 'both' });
    await writeSectors(stack, 96, patternOf(96, 8));
    const slot = stack.core.stateOf(12).slot;
    stack.spareDisk.faults.addBadSectors(slot * 8, 8, { on: 'read' });
    await failedRead(stack, 96, 8);
    await failedRead(stack, 80, 1);
    assert.deepEqual([stack.device.status().unreadableSectors, stack.device.status().goneSectors], [1, 8]);
    await writeZeroes(stack, 80, 24);
    assert.deepEqual([stack.device.status().unreadableSectors, stack.device.status().goneSectors], [0, 0]);
    assert.ok((await readSectors(stack, 80, 24)).every((byte) => byte === 0));
    await finish(stack);
  });

  it('R21 fast zeroing is refused where a part is mapped or lost, and where main cannot', async () => {
    const fast = makeStack({ mainCapabilities: { fastZeroes: true } });
    assert.equal(fast.device.capabilities.fastZeroes, true);
    await writeSectors(fast, 0, patternOf(0, 2048));
    await writeZeroes(fast, 0, 64, IoFlags.onlyIfFast);
    fast.mainDisk.faults.addBadSectors(80, 1, { on: 'both' });
    fast.mainDisk.faults.addBadSectors(96, 1, { on: 'read' });
    await writeSectors(fast, 80, patternOf(80, 8, 2));
    await failedRead(fast, 96, 1);
    const before = fast.mainDisk.counts.writes + fast.spareDisk.counts.writes;
    for (const sector of [80, 96]) {
      const error = await failureOf(writeZeroes(fast, sector, 8, IoFlags.onlyIfFast));
      assert.equal(error.kind, 'unsupported');
      assert.equal(error.errno, Errno.EOPNOTSUPP);
    }
    assert.deepEqual(await readSectors(fast, 80, 8), patternOf(80, 8, 2), 'nothing was changed');
    // A bad sector that nobody knew of: not fast, so not done.
    fast.mainDisk.faults.addBadSectors(160, 1, { on: 'write' });
    assert.equal((await failureOf(writeZeroes(fast, 160, 8, IoFlags.onlyIfFast))).kind, 'unsupported');
    assert.equal(fast.mainDisk.counts.writes + fast.spareDisk.counts.writes, before);
    assert.deepEqual(remappedGranules(fast), [10]);
    await finish(fast);

    const slow = makeStack();
    assert.equal(slow.device.capabilities.fastZeroes, false);
    assert.equal((await failureOf(writeZeroes(slow, 0, 8, IoFlags.onlyIfFast))).kind, 'unsupported');
    assert.equal(slow.mainDisk.counts.writeZeroes, 0);
    await finish(slow);
  });

  it('R15, R21 a main that does not know it is asked once, and gets zeros written', async () => {
    const stack = makeStack();
    await writeSectors(stack, 0, patternOf(0, 1024));
    stack.mainDisk.faults.failNext(1, { kinds: ['write-zeroes'], errno: Errno.EOPNOTSUPP });
    await writeZeroes(stack, 0, 512);
    await writeZeroes(stack, 512, 256);
    assert.equal(stack.mainDisk.counts.writeZeroes, 1);
    const expected = patternOf(0, 1024).fill(0, 0, 768 * 512);
    assert.deepEqual(await readSectors(stack, 0, 1024), expected);
    assert.equal(stack.device.capabilities.writeZeroes, true);
    await finish(stack);
  });

  it('R21, R22 with FUA is durable when it settles, on main and in slots', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.addBadSectors(80, 1, { on: 'both' });
    await writeSectors(stack, 64, patternOf(64, 2000 - 64));
    await stack.clock.run(stack.device.flush());
    await writeZeroes(stack, 64, 1900, IoFlags.fua);
    const slot = stack.core.stateOf(10).slot * 4096;
    assert.ok(stack.spareDisk.durableImage.slice(slot, slot + 4096).every((byte) => byte === 0));
    assert.ok(stack.mainDisk.durableImage.slice(88 * 512, 1964 * 512).every((byte) => byte === 0));
    await writeZeroes(stack, 1970, 8, IoFlags.fua);
    assert.ok(stack.mainDisk.durableImage.slice(1970 * 512, 1978 * 512).every((byte) => byte === 0));
    stack.mainDisk.faults.failFlush('once');
    const error = await failureOf(writeZeroes(stack, 1980, 8, IoFlags.fua));
    assert.equal(error.kind, 'path');
    await assert.rejects(stack.clock.run(stack.device.flush()), DeviceError);
    await finish(stack);
  });

  it('R6 a flush follows to main after zeroing there', async () => {
    const stack = makeStack();
    await stack.clock.run(stack.device.flush());
    const { flushes } = stack.mainDisk.counts;
    await writeZeroes(stack, 0, 8);
    await stack.clock.run(stack.device.flush());
    assert.equal(stack.mainDisk.counts.flushes, flushes + 1);
    assert.equal(stack.mainDisk.unflushedSectorCount, 0);
    await finish(stack);
  });

  it('R1, R21 waits for a move of its granule', async () => {
    const stack = makeStack();
    const lock = await stack.core.locks.acquire(8, 8);
    const zeroing = stack.device.writeZeroes(64 * 512, 8 * 512);
    await stack.clock.runFor(100);
    assert.equal(stack.mainDisk.counts.writeZeroes, 0);
    stack.core.locks.release(lock);
    await stack.clock.run(zeroing);
    assert.equal(stack.mainDisk.counts.writeZeroes, 1);
    await finish(stack);
  });

  it('R7 with FUA fails when somebody’s flush has failed over one of its parts', async () => {
    const stack = makeStack({ mainBytes: 4 << 20 });
    const sectors = (2 * zeroPartBytesMax) / 512;
    await writeSectors(stack, 0, patternOf(0, sectors));
    await stack.clock.run(stack.device.flush());
    // The second part takes long: the first is done, and another client flushes.
    const second = { kinds: ['write-zeroes'], sector: sectors / 2 } as const;
    stack.mainDisk.faults.delayNext(1, { doneMs: 1000 }, second);
    const zeroing = failureOf(stack.device.writeZeroes(0, 2 * zeroPartBytesMax, IoFlags.fua));
    await stack.clock.runFor(500);
    stack.mainDisk.faults.failFlush('once');
    await failureOf(stack.clock.run(stack.device.flush()));
    assert.equal((await stack.clock.run(zeroing)).kind, 'path');
    assert.deepEqual([stack.mainDisk.faults.counts.slow, stack.mainDisk.faults.counts.flush], [1, 1]);
    await finish(stack);
  });

  it('R21 names all of the rest when main refuses, and remaps nothing', async () => {
    const stack = makeStack({ mainBytes: 4 << 20 });
    stack.mainDisk.faults.addBadSectors(0, 4 << 11, { on: 'write', writeErrno: Errno.ENOSPC });
    const error = await failureOf(writeZeroes(stack, 100, 6000));
    assert.equal(error.kind, 'no-space');
    const covered = error.ranges.reduce((sum, { length }) => sum + length, 0);
    assert.deepEqual([error.ranges[0]?.offset, covered], [100 * 512, 6000 * 512]);
    assert.deepEqual(remappedGranules(stack), []);
    await finish(stack);
  });
});
