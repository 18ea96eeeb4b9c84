import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { BlockDevice } from '../../src/block/block-device.ts';
import { Errno } from '../../src/block/errno.ts';
import { StateFlags } from '../../src/metadata/mapping-state.ts';
import type { RemapDevice } from '../../src/remap/remap-device.ts';
import { freshBitmapBytesMax } from '../../src/remap/table/fresh-map.ts';
import { SimulatedDisk } from '../../src/simulator/simulated-disk.ts';
import { RemapPlace } from './remap-place.ts';
import {
  failedRead,
  failedSectors,
  failureOf,
  finish,
  makeStack,
  patternOf,
  readSectors,
  remappedGranules,
  type Stack,
  writeSectors,
} from './remap-stack.ts';

/** Sectors of a region of the small mains of these tests. */
const regionSectors = 2048;

/** A fresh main of four regions with something of an earlier life on it. */
function freshStack(bad: readonly number[], options: { on?: 'read' | 'both'; fresh?: boolean } = {}): Stack {
  const stack = makeStack({ mainBytes: 4 << 20, fresh: options.fresh ?? true });
  stack.mainDisk.load(new Uint8Array(4 << 20).fill(0x5a));
  for (const sector of bad) stack.mainDisk.faults.addBadSectors(sector, 1, { on: options.on ?? 'both' });
  return stack;
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

function freshRecords({ metadata }: Stack): { sequence: number; region: number; regionCount: number }[] {
  return metadata.durable.flatMap(({ sequence, records }) =>
    records.flatMap((record) => (record.type === 'fresh-ended' ? [{ ...record, sequence }] : [])),
  );
}

describe('a device created fresh', () => {
  it('R13 a sector that nobody wrote and main cannot read is zeros; what main can read is main’s', async () => {
    const stack = freshStack([0, 2, 1000, 1001]);
    const bytes = await readSectors(stack, 0, 8);
    assert.ok(isZero(bytes.subarray(0, 512)) && isZero(bytes.subarray(1024, 1536)));
    assert.ok(bytes.subarray(512, 1024).every((byte) => byte === 0x5a));
    assert.ok(isZero(await readSectors(stack, 1000, 2)));
    assert.deepEqual(
      [...stack.mainDisk.faults.struckSectors('read')].toSorted((a, b) => a - b),
      [0, 2, 1000, 1001],
    );
    assert.equal(stack.device.status().freshRegions, 4, 'reading ends nothing');
    assert.equal(stack.core.stateOf(0).flags, StateFlags.freshZero);
    const { badSectorReads } = stack.mainDisk.faults.counts;
    assert.ok(isZero((await readSectors(stack, 0, 8)).subarray(0, 512)));
    assert.equal(stack.mainDisk.faults.counts.badSectorReads, badSectorReads, 'main is not asked again');
    await finish(stack);
  });

  it('R13 without it the sector is an error', async () => {
    const stack = freshStack([2], { fresh: false });
    assert.deepEqual(failedSectors((await failedRead(stack, 0, 8)).error), [2]);
    assert.deepEqual(freshRecords(stack), []);
    await writeSectors(stack, 100, patternOf(100, 8));
    assert.equal(stack.metadata.durable.length, 1, 'the mark; no record of regions');
    await finish(stack);
  });

  it('R13 the end of a region is durable before the first byte goes to main', async () => {
    const stack = freshStack([]);
    const before = stack.counter.count;
    await writeSectors(stack, regionSectors - 4, patternOf(regionSectors - 4, 8));
    const first = stack.main.operations.find(({ sequence, kind }) => sequence > before && kind === 'write');
    const [record, ...more] = freshRecords(stack);
    assert.deepEqual([record?.region, record?.regionCount], [0, 2]);
    assert.ok(record!.sequence < first!.sequence);
    assert.deepEqual(more, []);
    await writeSectors(stack, 0, patternOf(0, 8));
    assert.equal(freshRecords(stack).length, 1, 'once');
    await stack.clock.run(stack.device.writeZeroes(2 * regionSectors * 512, 512));
    assert.deepEqual(freshRecords(stack).at(-1)?.region, 2, 'zeroing is writing');
    assert.equal(stack.device.status().freshRegions, 1);
    await finish(stack);
  });

  it('R13 a write whose region cannot be ended fails, and main is not touched', async () => {
    const stack = freshStack([]);
    stack.metadata.failures.push('METADATA_FAILED');
    const error = await failureOf(stack.clock.run(stack.device.write(patternOf(0, 8), 0)));
    assert.equal(error.kind, 'path');
    assert.equal(stack.metadata.failuresInjected, 1);
    assert.equal(stack.mainDisk.counts.writes, 0);
    assert.equal(stack.device.status().freshRegions, 4);
    assert.equal(stack.device.inFlight, 0);
    await finish(stack);
  });

  it('R13 a record that is definitely not stored is tried again', async () => {
    const stack = freshStack([]);
    stack.metadata.failures.push('METADATA_NOT_COMMITTED');
    await writeSectors(stack, 0, patternOf(0, 8));
    assert.equal(stack.metadata.failuresInjected, 1);
    assert.deepEqual(freshRecords(stack).length, 1);
    await finish(stack);
  });

  it('R13 in a region that this session began, the blocks nobody wrote are still fresh, the others are not', async () => {
    const stack = freshStack([803, 811], { on: 'read' });
    await writeSectors(stack, 808, patternOf(808, 8));
    assert.ok(isZero((await readSectors(stack, 800, 8)).subarray(3 * 512, 4 * 512)));
    assert.deepEqual(
      failedSectors((await failedRead(stack, 808, 8)).error),
      [811],
      'its bytes were acknowledged',
    );
    await finish(stack);
  });

  it('R13, R23 the first write ends the zeros of its sectors only', async () => {
    const stack = freshStack([80, 82, 84]);
    assert.ok(isZero((await readSectors(stack, 80, 8)).subarray(0, 512)));
    await writeSectors(stack, 82, patternOf(82, 1));
    assert.deepEqual(remappedGranules(stack), [10], 'main fails the write, too');
    const bytes = await readSectors(stack, 80, 8);
    assert.ok(isZero(bytes.subarray(0, 512)) && isZero(bytes.subarray(4 * 512, 5 * 512)));
    assert.deepEqual(bytes.subarray(2 * 512, 3 * 512), patternOf(82, 1));
    assert.equal(stack.core.stateOf(10).flags, StateFlags.freshZero);
    await writeSectors(stack, 80, patternOf(80, 8, 2));
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8, 2));
    assert.equal(stack.core.stateOf(10).flags, StateFlags.none);
    await finish(stack);
  });

  it('R13 a sector that was written and later fails is an error beside zeros of one that was not', async () => {
    const stack = freshStack([80], { on: 'read' });
    assert.ok(isZero(await readSectors(stack, 80, 1)));
    await writeSectors(stack, 83, patternOf(83, 1));
    stack.mainDisk.faults.addBadSectors(83, 1, { on: 'read' });
    const { error, bytes } = await failedRead(stack, 80, 8);
    assert.deepEqual(failedSectors(error), [83]);
    assert.ok(isZero(bytes.subarray(0, 512)));
    assert.deepEqual(failedSectors((await failedRead(stack, 83, 1)).error), [83], 'and stays one');
    assert.equal(stack.core.stateOf(10).unreadable, 1);
    await finish(stack);
  });

  it('R13 a discard writes nothing: what was fresh still is', async () => {
    const stack = freshStack([80]);
    await stack.clock.run(stack.device.discard(0, 4 << 20));
    assert.equal(stack.device.status().freshRegions, 4);
    assert.ok(isZero(await readSectors(stack, 80, 1)));
    await finish(stack);
  });

  it('R13, R15 a main that is away gives no zeros', async () => {
    const stack = freshStack([]);
    stack.mainDisk.faults.setPathError(Errno.EIO);
    const { error } = await failedRead(stack, 80, 8);
    assert.equal(error.kind, 'path');
    assert.ok(stack.mainDisk.faults.counts.path > 0);
    assert.equal(stack.core.table.totals().entries, 0);
    stack.mainDisk.faults.setPathError(undefined);
    await stack.clock.runFor(1001);
    await finish(stack);
  });

  it('R1, R13 a write at the same time as the read that finds zeros is not lost under their mark', async () => {
    for (let seed = 0; seed < 40; seed += 1) {
      const stack = makeStack({ mainBytes: 4 << 20, fresh: true, seed: `race ${seed}` });
      stack.mainDisk.faults.addBadSectors(80, 1, { on: 'read', healOnWrite: true });
      const target = new Uint8Array(4096);
      const read = stack.device.read(target, 80 * 512).then(
        () => 'read',
        () => 'failed',
      );
      if (seed % 2 === 0) await stack.clock.runFor(seed / 8);
      const write = stack.device.write(patternOf(80, 8), 80 * 512);
      await stack.clock.run(Promise.all([read, write]));
      assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8), `seed ${seed}`);
      await finish(stack);
    }
  });

  it('R13 regions beyond the room for bitmaps end whole', () => {
    // One bitmap is 32 bytes here: the limit is far away, and this says how far.
    assert.equal(freshBitmapBytesMax / (regionSectors / 8 / 8), 131_072);
  });
});

describe('a fresh device that is opened again', () => {
  function pattern(version: number): Uint8Array {
    return patternOf(808, 8, version);
  }

  async function read(place: RemapPlace, device: RemapDevice, sector: number): Promise<Uint8Array | string> {
    const bytes = new Uint8Array(512).fill(0xee);
    try {
      await place.clock.run(device.read(bytes, sector * 512));
      return isZero(bytes) ? 'zeros' : bytes;
    } catch {
      return 'error';
    }
  }

  it('R13 keeps untouched regions and found zeros fresh, and nothing else of a region that was written to', async () => {
    const place = new RemapPlace();
    const disk = new SimulatedDisk({
      name: 'main',
      sizeBytes: 4 << 20,
      physicalBlockBytes: 4096,
      clock: place.clock,
      random: place.random,
    });
    disk.load(new Uint8Array(4 << 20).fill(0x5a));
    for (const sector of [80, 90, 800, 5000]) disk.faults.addBadSectors(sector, 1, { on: 'read' });
    const main = (): BlockDevice => disk.open();
    await place.create(main(), { fresh: true });
    const first = await place.open(main());
    assert.equal(await read(place, first, 80), 'zeros');
    await place.clock.run(first.write(pattern(1), 808 * 512));
    await place.clock.run(first.close());

    const second = await place.open(main());
    assert.equal(second.status().freshRegions, 3);
    assert.equal(await read(place, second, 80), 'zeros', 'found before: recorded');
    assert.equal(await read(place, second, 90), 'error', 'nobody knows any more whether it was written');
    assert.equal(await read(place, second, 5000), 'zeros', 'of a region nobody wrote to');
    await place.clock.run(second.write(pattern(2).subarray(0, 512), 80 * 512));
    await place.clock.run(second.close());

    const third = await place.open(main());
    assert.deepEqual(await read(place, third, 80), pattern(2).slice(0, 512), 'on the spare now');
    await place.clock.run(third.close());
    assert.equal(place.arena.usedBytes, 0);
  });
});
