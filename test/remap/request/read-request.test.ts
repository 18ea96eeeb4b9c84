import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sectorBytes } from '../../../src/block/block-device.ts';
import { Errno } from '../../../src/block/errno.ts';
import { MemoryDevice } from '../../../src/block/memory-device.ts';
import { createMappedDevice } from '../../../src/mapping/create-mapped-device.ts';
import { badSectorsOf, faultMap, faultTable } from '../../fixtures/fault-tables.ts';
import { standardRegistry } from '../../fixtures/standard-registry.ts';
import {
  failedRead,
  failedSectors,
  failureOf,
  finish,
  LyingDevice,
  makeStack,
  patternOf,
  readSectors,
  remappedGranules,
  type Stack,
  writeSectors,
} from '../remap-stack.ts';

/** Sectors of granule 10 that a stack has lost on main. */
async function loseSectors(stack: Stack, sector: number, count: number): Promise<void> {
  await writeSectors(stack, 80, patternOf(80, 16));
  stack.mainDisk.faults.addBadSectors(sector, count, { on: 'read' });
  await failedRead(stack, sector, count);
  await stack.clock.runUntilIdle();
}

function submitsTo(stack: Stack, device: 'main' | 'spare', since: number): string[] {
  return stack[device].operations
    .filter(({ sequence, phase }) => sequence > since && phase === 'submit')
    .map(({ kind, offset, length }) => `${kind} ${offset / sectorBytes}+${length / sectorBytes}`);
}

describe('a read over bad sectors of main', () => {
  it('R4 names only the bad sectors, delivers all others, and marks them unreadable', async () => {
    for (const exactRanges of [false, true]) {
      for (const readErrno of [Errno.ENODATA, Errno.EIO]) {
        const stack = makeStack({ exactRanges });
        await writeSectors(stack, 64, patternOf(64, 64));
        stack.mainDisk.faults.addBadSectors(70, 1, { on: 'read', readErrno });
        stack.mainDisk.faults.addBadSectors(87, 2, { on: 'read', readErrno });
        const { error, bytes } = await failedRead(stack, 64, 64);
        assert.deepEqual(stack.mainDisk.faults.struckSectors('read'), new Set([70, 87, 88]));
        assert.deepEqual(failedSectors(error), [70, 87, 88]);
        const expected = patternOf(64, 64);
        for (let sector = 64; sector < 128; sector += 1) {
          if ([70, 87, 88].includes(sector)) continue;
          const at = (sector - 64) * sectorBytes;
          assert.deepEqual(bytes.slice(at, at + sectorBytes), expected.slice(at, at + sectorBytes));
        }
        assert.equal(stack.core.stateOf(8).unreadable, 1 << 6);
        assert.equal(stack.core.stateOf(10).unreadable, 1 << 7);
        assert.equal(stack.core.stateOf(11).unreadable, 1);
        assert.equal(stack.spareDisk.counts.writes, 0, 'I4 reading moves nothing');
        await finish(stack);
      }
    }
  });

  it('does not ask main again for a sector known to be lost, and goes on reading its neighbours', async () => {
    const stack = makeStack();
    await loseSectors(stack, 83, 1);
    const before = stack.counter.count;
    const { error, bytes } = await failedRead(stack, 80, 8);
    assert.deepEqual(failedSectors(error), [83]);
    assert.equal(error.kind, 'lost');
    assert.deepEqual(submitsTo(stack, 'main', before).toSorted(), ['read 80+3', 'read 84+4']);
    const expected = patternOf(80, 8);
    assert.deepEqual(bytes.slice(0, 3 * 512), expected.slice(0, 3 * 512));
    assert.deepEqual(bytes.slice(4 * 512), expected.slice(4 * 512));
    await finish(stack);
  });

  it('gives what a retry saves, and marks nothing (R17)', async () => {
    const stack = makeStack();
    await writeSectors(stack, 80, patternOf(80, 8));
    stack.mainDisk.faults.failNext(1, { kinds: ['read'], sector: 80, errno: Errno.ENODATA });
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
    assert.equal(stack.mainDisk.faults.counts.transient, 1);
    assert.equal(stack.core.table.totals().entries, 0);
    await finish(stack);
  });

  it('tries again after transient errors also sector by sector (R15)', async () => {
    const stack = makeStack();
    await writeSectors(stack, 80, patternOf(80, 8));
    stack.mainDisk.faults.failNext(1, { kinds: ['read'], sector: 80, errno: Errno.ENODATA });
    stack.mainDisk.faults.failNext(2, { kinds: ['read'], sector: 82, errno: Errno.EAGAIN });
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
    assert.equal(stack.mainDisk.faults.counts.transient, 3);
    assert.equal(stack.core.table.totals().entries, 0);
    await finish(stack);
  });

  it('makes no mark that the metadata has no room for, and still gives no bytes (M18)', async () => {
    const stack = makeStack({ lostGranulesMax: 1 });
    await writeSectors(stack, 80, patternOf(80, 16));
    stack.mainDisk.faults.addBadSectors(80, 1, { on: 'read' });
    stack.mainDisk.faults.addBadSectors(88, 1, { on: 'read' });
    await failedRead(stack, 80, 1);
    const first = await failedRead(stack, 88, 1);
    assert.deepEqual(failedSectors(first.error), [88]);
    assert.equal(stack.core.table.totals().entries, 1);
    stack.mainDisk.faults.removeBadSectors(88, 1);
    assert.deepEqual(
      await readSectors(stack, 88, 1),
      patternOf(88, 1),
      'main is the only truth and is asked again',
    );
    await finish(stack);
  });

  it('a mark that cannot be stored is dropped without harm (R4)', async () => {
    const stack = makeStack();
    stack.metadata.failures.push('METADATA_NOT_COMMITTED');
    await loseSectors(stack, 80, 1);
    assert.equal(stack.metadata.failuresInjected, 1);
    assert.equal(stack.device.status().counters.lazyCommitsFailed, 1);
    assert.equal(stack.core.stateOf(10).unreadable, 1);
    await finish(stack, { lazyLost: true });
  });

  it('dust: reads fail until the sector is written, then everything is main again (R23)', async () => {
    const map = faultMap('five-spread');
    const { table, messages } = faultTable(map, 'dust', 'disk');
    const disk = new MemoryDevice({ sizeBytes: map.mainBytes });
    const main = await createMappedDevice({
      name: 'dusty',
      table,
      registry: standardRegistry(),
      openDevice: () => Promise.resolve(disk),
    });
    for (const words of messages) await main.message(0, words);
    const stack = makeStack({ main });
    const bad = badSectorsOf(map);
    for (const sector of bad) {
      const { error } = await failedRead(stack, sector - 3, 8);
      const near = bad.filter((other) => other >= sector - 3 && other < sector + 5);
      assert.deepEqual(failedSectors(error), near);
    }
    assert.equal(stack.core.table.totals().unreadableSectors, bad.length);
    for (const sector of bad) {
      await writeSectors(stack, sector, patternOf(sector, 1));
      assert.deepEqual(disk.bytes.slice(sector * 512, sector * 512 + 512), patternOf(sector, 1));
      assert.deepEqual(await readSectors(stack, sector, 1), patternOf(sector, 1));
    }
    assert.equal(stack.core.table.totals().entries, 0);
    await finish(stack);
  });
});

describe('R23 a write to a lost sector', () => {
  it('goes to main first, is read back, and clears the mark durably before it is acknowledged', async () => {
    const stack = makeStack();
    await loseSectors(stack, 83, 2);
    stack.mainDisk.faults.removeBadSectors(83, 2);
    const before = stack.counter.count;
    const commits = stack.metadata.durable.length;
    await writeSectors(stack, 83, patternOf(83, 1, 2));
    const acknowledged = stack.counter.next();
    assert.deepEqual(submitsTo(stack, 'main', before), ['write 83+1', 'read 83+1']);
    const cleared = stack.metadata.durable.at(-1)!;
    assert.equal(stack.metadata.durable.length, commits + 1);
    assert(cleared.sequence > before && cleared.sequence < acknowledged);
    assert.equal(stack.metadata.replay().get(10)?.unreadable, 1 << 4, 'only the written sector is cleared');
    assert.deepEqual(stack.mainDisk.durableImage.slice(83 * 512, 84 * 512), patternOf(83, 1, 2), 'FUA');
    assert.deepEqual(
      await readSectors(stack, 80, 4),
      Uint8Array.from([...patternOf(80, 3), ...patternOf(83, 1, 2)]),
    );
    assert.deepEqual(remappedGranules(stack), []);
    await finish(stack);
  });

  it('falls to a remap when main still fails there', async () => {
    for (const writeErrno of [Errno.EIO, Errno.ENODATA]) {
      const stack = makeStack();
      await loseSectors(stack, 83, 1);
      stack.mainDisk.faults.addBadSectors(83, 1, { on: 'both', writeErrno });
      await writeSectors(stack, 82, patternOf(82, 4, 2));
      assert.deepEqual(await readSectors(stack, 82, 4), patternOf(82, 4, 2));
      assert.deepEqual(remappedGranules(stack), [10]);
      assert.equal(stack.core.stateOf(10).unreadable, 0);
      await finish(stack);
    }
  });

  it('falls to a remap when main takes the write and does not give it back', async () => {
    const stack = makeStack();
    await loseSectors(stack, 83, 1);
    // Only reading is bad: the write succeeds, reading back does not.
    await writeSectors(stack, 83, patternOf(83, 1, 2));
    assert.deepEqual(await readSectors(stack, 83, 1), patternOf(83, 1, 2));
    assert.deepEqual(remappedGranules(stack), [10]);
    await finish(stack);
  });

  it('falls to a remap when main takes the write and gives other bytes back', async () => {
    let liar: LyingDevice | undefined;
    const stack = makeStack({
      wrapMain: (below) => {
        liar = new LyingDevice(below, 0);
        return liar;
      },
    });
    await loseSectors(stack, 83, 1);
    stack.mainDisk.faults.removeBadSectors(83, 1);
    liar!.liesLeft = 1;
    await writeSectors(stack, 83, patternOf(83, 1, 2));
    assert.equal(liar!.lies, 1);
    assert.deepEqual(await readSectors(stack, 83, 1), patternOf(83, 1, 2));
    assert.deepEqual(remappedGranules(stack), [10]);
    await finish(stack);
  });

  it('leaves sectors of the same write that a slot holds in their slot', async () => {
    const stack = makeStack();
    await loseSectors(stack, 84, 2);
    stack.mainDisk.faults.addBadSectors(82, 2, { on: 'both' });
    await writeSectors(stack, 82, patternOf(82, 2, 2));
    assert.equal(stack.core.stateOf(10).held, 0b1100);
    stack.mainDisk.faults.removeBadSectors(84, 2);
    const before = stack.counter.count;
    await writeSectors(stack, 82, patternOf(82, 4, 3));
    const writes = submitsTo(stack, 'main', before).filter((line) => line.startsWith('write'));
    assert.deepEqual(writes, ['write 84+2']);
    assert.deepEqual(await readSectors(stack, 82, 4), patternOf(82, 4, 3));
    assert.equal(stack.core.stateOf(10).held, 0b1100);
    assert.equal(stack.core.stateOf(10).unreadable, 0);
    await finish(stack);
  });

  it('is no claim about a sector while all of main fails: EIO, no slot used (R16)', async () => {
    const stack = makeStack();
    await loseSectors(stack, 83, 1);
    stack.mainDisk.faults.setPathError(Errno.EIO);
    await stack.clock.runFor(1001);
    const error = await failureOf(stack.clock.run(stack.device.write(patternOf(83, 1, 2), 83 * 512)));
    assert.equal(error.kind, 'path');
    assert.deepEqual(remappedGranules(stack), []);
    assert.equal(stack.core.stateOf(10).unreadable, 1 << 3);
    stack.mainDisk.faults.setPathError(undefined);
    await stack.clock.runFor(1001);
    await finish(stack);
  });

  it('clears the mark although its record was not committed at first', async () => {
    const stack = makeStack();
    await loseSectors(stack, 83, 1);
    stack.mainDisk.faults.removeBadSectors(83, 1);
    stack.metadata.failures.push('METADATA_NOT_COMMITTED', 'METADATA_NOT_COMMITTED');
    await writeSectors(stack, 83, patternOf(83, 1, 2));
    assert.equal(stack.metadata.failuresInjected, 2);
    assert.equal(stack.core.table.totals().entries, 0);
    assert.deepEqual(await readSectors(stack, 83, 1), patternOf(83, 1, 2));
    await finish(stack);
  });

  it('fails, and keeps the mark, when the mark cannot be cleared durably (I12)', async () => {
    const stack = makeStack();
    await loseSectors(stack, 83, 1);
    stack.mainDisk.faults.removeBadSectors(83, 1);
    for (let count = 0; count < 4; count += 1) stack.metadata.failures.push('METADATA_NOT_COMMITTED');
    await failureOf(stack.clock.run(stack.device.write(patternOf(83, 1, 2), 83 * 512)));
    assert.equal(stack.metadata.failuresInjected, 4);
    assert.equal(stack.core.stateOf(10).unreadable, 1 << 3);
    await writeSectors(stack, 83, patternOf(83, 1, 3));
    assert.deepEqual(await readSectors(stack, 83, 1), patternOf(83, 1, 3));
    await finish(stack);
  });
});
