import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Errno } from '../../../src/block/errno.ts';
import type { SpareUnit } from '../../../src/remap/spare/spare-unit.ts';
import { SlotAllocator } from '../../../src/remap/table/slot-allocator.ts';
import { RecordingDevice } from '../../../src/simulator/recording-device.ts';
import { SimulatedDisk } from '../../../src/simulator/simulated-disk.ts';
import { failureOf, makeStack, patternOf, readSectors, type Stack, writeSectors } from '../remap-stack.ts';

/** Slots of the home that are free: the next block goes to the other spare. */
const homeSlots = 4;
const firstSlot = 512;

interface TwoSpares {
  readonly stack: Stack;
  readonly memberDisk: SimulatedDisk;
  readonly member: RecordingDevice;
  readonly unit: SpareUnit;
}

function twoSpares(seed: string): TwoSpares {
  // The home has 256 slots, of which all but four are somebody else's.
  const stack = makeStack({ seed, reserved: [{ slot: 0, slotCount: 256 - homeSlots }] });
  const memberDisk = new SimulatedDisk({
    name: 'member',
    sizeBytes: 1 << 20,
    physicalBlockBytes: 4096,
    clock: stack.clock,
    random: stack.random,
  });
  const member = new RecordingDevice(memberDisk.open(), stack.counter);
  const allocator = new SlotAllocator(256, [{ slot: 0, slotCount: 32 }]);
  const unit = stack.core.addSpare('spare-1', member, firstSlot, allocator);
  stack.mainDisk.faults.addBadSectors(0, 100 * 8, { on: 'both' });
  return { stack, memberDisk, member, unit };
}

/** One block after the other, from the first granule on: the first four fill the home. */
async function moveBlocks({ stack }: TwoSpares, count: number): Promise<void> {
  for (let granule = 0; granule < count; granule += 1) {
    await writeSectors(stack, granule * 8, patternOf(granule * 8, 8));
  }
}

describe('several spares', () => {
  it('fills the home, then the next one, each at its place in the row', async () => {
    const world = twoSpares('fills');
    const { stack, memberDisk } = world;
    await moveBlocks(world, 6);
    const slots = [0, 1, 2, 3, 4, 5].map((granule) => stack.core.stateOf(granule).slot);
    assert.deepEqual(slots, [252, 253, 254, 255, firstSlot + 32, firstSlot + 33]);
    assert.equal(memberDisk.counts.writes, 2);
    for (let granule = 0; granule < 6; granule += 1) {
      assert.deepEqual(await readSectors(stack, granule * 8, 8), patternOf(granule * 8, 8));
    }
    await writeSectors(stack, 4 * 8 + 3, patternOf(4 * 8 + 3, 2, 2));
    assert.deepEqual(await readSectors(stack, 4 * 8 + 3, 2), patternOf(4 * 8 + 3, 2, 2));
    const { slotsUsed, slotsFree, slotsTotal } = stack.device.status();
    assert.deepEqual([slotsUsed, slotsFree, slotsTotal], [6, 222, 228]);
  });

  it('I12 data < flush of the spare that has it < record < acknowledgement', async () => {
    const world = twoSpares('order');
    const { stack, member } = world;
    await moveBlocks(world, 5);
    const [write] = member.operations.filter(({ kind, phase }) => kind === 'write' && phase === 'settle');
    const flush = member.operations.find(
      ({ kind, phase, sequence, ok }) =>
        kind === 'flush' && phase === 'settle' && ok && sequence > write!.sequence,
    );
    const submitted = member.operations.find(({ sequence }) => sequence === flush!.submitSequence)!;
    const record = stack.metadata.durable.at(-1)!;
    assert.ok(write!.sequence < submitted.sequence, 'the flush is sent behind the data');
    assert.ok(flush!.sequence < record.sequence, 'the record is durable behind the flush');
    assert.deepEqual(
      record.records.map((one) => (one.type === 'granules' ? one.slot : -1)),
      [firstSlot + 32],
    );
    await finishAll(world);
  });

  it('R6 a flush goes to the spare that has something to flush, and to no other', async () => {
    const world = twoSpares('flush');
    const { stack, member, unit } = world;
    await moveBlocks(world, 5);
    const homeFlushes = (): number =>
      stack.spare.operations.filter(({ kind, phase }) => kind === 'flush' && phase === 'submit').length;
    const memberFlushes = (): number =>
      member.operations.filter(({ kind, phase }) => kind === 'flush' && phase === 'submit').length;
    await stack.clock.run(stack.device.flush());
    const before = [homeFlushes(), memberFlushes()];
    await writeSectors(stack, 4 * 8, patternOf(4 * 8, 8, 2));
    assert.ok(unit.flush.due);
    await stack.clock.run(stack.device.flush());
    assert.deepEqual([homeFlushes(), memberFlushes()], [before[0]!, before[1]! + 1]);
    await finishAll(world);
  });

  it('R7 a flush of one spare that fails is told to clients once, and puts no record in doubt', async () => {
    const world = twoSpares('failed flush');
    const { stack, memberDisk } = world;
    await moveBlocks(world, 5);
    await stack.clock.run(stack.device.flush());
    const { flushEpoch } = stack.device;
    await writeSectors(stack, 4 * 8, patternOf(4 * 8, 8, 2));
    memberDisk.faults.failFlush('once', Errno.EIO);
    await failureOf(stack.clock.run(stack.device.flush()));
    assert.equal(stack.device.flushEpoch, flushEpoch + 1);
    assert.equal(stack.metadata.flushEpoch, 0, 'the home has nothing to do with it');
    await stack.clock.run(stack.device.flush().catch(() => undefined));
    await stack.clock.run(stack.device.flush());
    await finishAll(world);
  });

  it('R5 a spare that is away holds its own blocks alone; new ones go to the others', async () => {
    const world = twoSpares('away');
    const { stack, memberDisk, unit } = world;
    await moveBlocks(world, 5);
    memberDisk.faults.setPathError(Errno.ENODEV);
    const held = stack.device.read(new Uint8Array(4096), 4 * 4096);
    let answered = false;
    void held.then(
      () => {
        answered = true;
      },
      () => {
        answered = true;
      },
    );
    await stack.clock.runFor(1000);
    assert.equal(answered, false, 'it is held');
    assert.ok(stack.core.paths.of('spare-1', 'read').failed);
    assert.equal(stack.core.paths.spare.failed, false);
    // Main, and the home's blocks.
    assert.deepEqual(await readSectors(stack, 0, 8), patternOf(0, 8));
    await writeSectors(stack, 8, patternOf(8, 8, 2));
    await writeSectors(stack, 1600, patternOf(1600, 8));
    assert.equal(answered, false);
    // A block of the home is free again: what main fails now goes there, whatever is away.
    const slot = stack.core.stateOf(0).slot;
    stack.mainDisk.faults.removeBadSectors(0, 8);
    await stack.clock.run(stack.device.message(['unremap', '0']));
    assert.equal(stack.core.stateOf(0).slot, -1);
    await writeSectors(stack, 10 * 8, patternOf(10 * 8, 8));
    assert.equal(stack.core.stateOf(10).slot, slot);
    memberDisk.faults.setPathError(undefined);
    await stack.clock.run(held);
    assert.equal(unit.allocator.retiredSlots, 0, 'nothing is blamed');
    assert.deepEqual(await readSectors(stack, 4 * 8, 8), patternOf(4 * 8, 8));
    await finishAll(world);
  });

  it('R5 a new block whose spare has just gone goes to another one', async () => {
    const world = twoSpares('goes');
    const { stack, memberDisk } = world;
    await moveBlocks(world, 5);
    const third = new SimulatedDisk({
      name: 'third',
      sizeBytes: 1 << 20,
      physicalBlockBytes: 4096,
      clock: stack.clock,
      random: stack.random,
    });
    stack.core.addSpare('spare-2', third.open(), 1024, new SlotAllocator(256, [{ slot: 0, slotCount: 32 }]));
    memberDisk.faults.setPathError(Errno.ENODEV);
    await writeSectors(stack, 20 * 8, patternOf(20 * 8, 8));
    assert.equal(stack.core.stateOf(20).slot, 1024 + 32);
    assert.ok(stack.core.paths.of('spare-1', 'read').failed);
    assert.equal(stack.core.paths.of('spare-2', 'read').failed, false);
    assert.deepEqual(await readSectors(stack, 20 * 8, 8), patternOf(20 * 8, 8));
  });

  it('R5 bad slots of one spare are its own, and what they held is gone alone', async () => {
    const world = twoSpares('bad slots');
    const { stack, memberDisk, unit } = world;
    await moveBlocks(world, 6);
    memberDisk.faults.addBadSectors(32 * 8, 1, { on: 'both', readErrno: Errno.ENODATA });
    const error = await failureOf(stack.clock.run(stack.device.read(new Uint8Array(4096), 4 * 4096)));
    assert.deepEqual(
      error.ranges.map(({ offset, length }) => [offset, length]),
      [[4 * 4096, 512]],
    );
    assert.equal(stack.device.status().goneSectors, 1);
    assert.equal(unit.allocator.retiredSlots, 1);
    assert.equal(stack.core.stateOf(4).slot, firstSlot + 34);
    assert.deepEqual(await readSectors(stack, 4 * 8 + 1, 7), patternOf(4 * 8 + 1, 7));
    assert.deepEqual(await readSectors(stack, 5 * 8, 8), patternOf(5 * 8, 8));
    await finishAll(world);
  });
});

async function finishAll({ stack, unit, memberDisk }: TwoSpares): Promise<void> {
  // The rig's own check counts the home's slots alone.
  assert.equal(memberDisk.inFlightCount, 0);
  assert.ok(unit.allocator.usedSlots >= 0);
  await stack.clock.run(stack.device.close());
  assert.equal(stack.device.inFlight, 0);
  assert.equal(stack.core.locks.heldCount, 0);
  assert.equal(stack.arena.usedBytes, 0);
}
