import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type BlockDevice, IoFlags, sectorBytes } from '../../../src/block/block-device.ts';
import { delay } from '../../../src/block/clock.ts';
import { Errno } from '../../../src/block/errno.ts';
import { FilterDevice } from '../../../src/block/filter-device.ts';
import { StateCause, StateFlags } from '../../../src/metadata/mapping-state.ts';
import { writeBudget } from '../../../src/remap/request/write-request.ts';
import type { VirtualClock } from '../../../src/simulator/virtual-clock.ts';
import {
  failedRead,
  finish,
  LyingDevice,
  makeStack,
  patternOf,
  readSectors,
  remappedGranules,
  type Stack,
  writeSectors,
} from '../remap-stack.ts';

function ask(stack: Stack, ...words: string[]): Promise<string> {
  return stack.clock.run(stack.device.message(words));
}

/** Granule 10, sectors 80 to 87, on the spare because its write failed; main is good again unless told otherwise. */
async function movedStack(options: Parameters<typeof makeStack>[0] = {}): Promise<Stack> {
  const stack = makeStack(options);
  stack.mainDisk.faults.addBadSectors(82, 1, { on: 'write' });
  await writeSectors(stack, 80, patternOf(80, 8));
  assert.deepEqual(remappedGranules(stack), [10]);
  stack.mainDisk.faults.removeBadSectors(82, 1);
  return stack;
}

/** A drive that takes 10 ms for a read. */
class SlowReads extends FilterDevice {
  readonly #clocks: readonly VirtualClock[];

  constructor(below: BlockDevice, clocks: readonly VirtualClock[]) {
    super(below);
    this.#clocks = clocks;
  }

  override async read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    await delay(this.#clocks[0]!, 10);
    await super.read(target, offset, flags);
  }
}

function mainImage(stack: Stack, sector: number, count: number): Uint8Array {
  return stack.mainDisk.durableImage.slice(sector * sectorBytes, (sector + count) * sectorBytes);
}

it('R19 what the operator moved stays his, though its slot goes bad', async () => {
  const stack = makeStack();
  await writeSectors(stack, 80, patternOf(80, 8));
  await ask(stack, 'remap', '80', '8');
  const { slot } = stack.core.stateOf(10);
  stack.spareDisk.faults.addBadSectors(slot * 8, 1, { on: 'write' });
  await writeSectors(stack, 80, patternOf(7, 8));
  const state = stack.core.stateOf(10);
  assert.notEqual(state.slot, slot, 'it has left the bad slot');
  assert.equal(state.cause, StateCause.operator);
  assert.match(await ask(stack, 'verify', '80', '8'), /home 0, .*kept 1/);
  assert.deepEqual(remappedGranules(stack), [10]);
  assert.deepEqual(await readSectors(stack, 80, 8), patternOf(7, 8));
  await finish(stack);
});

describe('unremap', () => {
  it('R4 brings the data home durably, and the slot is free again', async () => {
    const stack = await movedStack();
    const free = stack.core.parts.allocator.freeSlots;
    assert.equal(await ask(stack, 'unremap', '80', '8'), 'unremap: home 1, main-bad 0, spare-bad 0');
    assert.deepEqual(mainImage(stack, 80, 8), patternOf(80, 8), 'on the media of main');
    assert.equal(stack.core.table.totals().entries, 0);
    assert.equal(stack.metadata.replay().size, 0, 'and the table says so after a crash');
    assert.equal(stack.core.parts.allocator.freeSlots, free + 1);
    const spareReads = stack.spareDisk.counts.reads;
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
    assert.equal(stack.spareDisk.counts.reads, spareReads, 'I13 the next read is main’s');
    await finish(stack);
  });

  it('R4 keeps the order: slot read < main written < main read back < record', async () => {
    for (const fua of [true, false]) {
      const stack = await movedStack({ mainCapabilities: { fua } });
      const before = stack.counter.count;
      await ask(stack, 'unremap', '80');
      const since = stack.main.operations
        .concat(stack.spare.operations)
        .filter(({ sequence }) => sequence > before)
        .toSorted((a, b) => a.sequence - b.sequence);
      const at = (kind: string, phase: string): number =>
        since.find((operation) => operation.kind === kind && operation.phase === phase)?.sequence ?? 0;
      const spareRead = stack.spare.operations.find(
        ({ sequence, kind, phase }) => sequence > before && kind === 'read' && phase === 'settle',
      );
      const mainRead = stack.main.operations.filter(
        ({ sequence, kind, phase }) => sequence > before && kind === 'read' && phase === 'settle',
      );
      assert.ok(spareRead !== undefined && spareRead.sequence < at('write', 'submit'));
      const durable = fua ? at('write', 'settle') : at('flush', 'settle');
      assert.ok(durable > 0 && durable < mainRead.at(-1)!.sequence);
      const record = stack.metadata.durable.at(-1)!;
      assert.ok(mainRead.at(-1)!.sequence < record.sequence);
      await finish(stack);
    }
  });

  it('R4 what main does not take stays where it was, and the reply says so', async () => {
    for (const writeErrno of [Errno.ENODATA, Errno.EIO]) {
      const stack = await movedStack();
      await readSectors(stack, 0, 256);
      stack.mainDisk.faults.addBadSectors(84, 1, { on: 'write', writeErrno });
      assert.equal(await ask(stack, 'unremap', '80', '8'), 'unremap: home 0, main-bad 1, spare-bad 0');
      assert.deepEqual(stack.mainDisk.faults.struckSectors('write'), new Set([82, 84]));
      assert.deepEqual(remappedGranules(stack), [10]);
      assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
      await finish(stack);
    }
  });

  it('R4 what main gives back otherwise stays on the spare', async () => {
    let liar: LyingDevice | undefined;
    const stack = await movedStack({
      wrapMain: (below) => {
        liar = new LyingDevice(below, 0);
        return liar;
      },
    });
    liar!.liesLeft = 1;
    assert.equal(await ask(stack, 'unremap', '80'), 'unremap: home 0, main-bad 1, spare-bad 0');
    assert.equal(liar!.lies, 1);
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
    await finish(stack);
  });

  it('a main that does not answer ends the work, and where to go on is said', async () => {
    const stack = await movedStack();
    stack.mainDisk.faults.addBadSectors(98, 1, { on: 'write' });
    await writeSectors(stack, 96, patternOf(96, 8));
    stack.mainDisk.faults.setPathError(Errno.ENODEV);
    assert.deepEqual((await ask(stack, 'unremap', '0', '2048')).split('\n'), [
      'unremap: home 0, main-bad 0, spare-bad 0',
      'stopped: main does not answer',
      'next 80 1968',
    ]);
    stack.mainDisk.faults.setPathError(undefined);
    stack.mainDisk.faults.removeBadSectors(98, 1);
    assert.equal(await ask(stack, 'unremap', '80', '1968'), 'unremap: home 2, main-bad 0, spare-bad 0');
    await finish(stack);
  });

  it('a slot that does not give all it holds stays, and nothing of it is dropped', async () => {
    const stack = await movedStack();
    const { slot } = stack.core.stateOf(10);
    stack.spareDisk.faults.addBadSectors(slot * 8 + 3, 1, { on: 'read' });
    assert.equal(await ask(stack, 'unremap', '80'), 'unremap: home 0, main-bad 0, spare-bad 1');
    assert.equal(stack.core.stateOf(10).slot, slot);
    await finish(stack);
  });

  it('M1 a record that is in doubt leaves the granule on its slot', async () => {
    const stack = await movedStack();
    stack.metadata.failures.push('METADATA_FAILED');
    const reply = await ask(stack, 'unremap', '80');
    assert.match(reply, /^unremap: home 0.*\nstopped: the record cannot be stored on the spare\nnext 80 8$/);
    assert.deepEqual(remappedGranules(stack), [10]);
    assert.equal(stack.device.status().state, 'metadata-failed');
    await finish(stack);
  });

  it('R26 the slot is not free before the record is durable, nor while a read of it is under way', async () => {
    const stack = await movedStack();
    const { slot } = stack.core.stateOf(10);
    const free = stack.core.parts.allocator.freeSlots;
    stack.spareDisk.faults.stickNext(1, { kinds: ['read'], sector: slot * 8, sectorCount: 8 });
    const target = new Uint8Array(8 * sectorBytes);
    const read = stack.device.read(target, 80 * sectorBytes);
    let letGo: () => void = () => assert.fail('nothing is held');
    stack.metadata.held = new Promise((resolve) => {
      letGo = resolve;
    });
    const home = stack.device.message(['unremap', '80']);
    await stack.clock.runUntilIdle();
    assert.equal(stack.spareDisk.faults.counts.stuck, 1);
    assert.equal(stack.metadata.durable.length, 1, 'the move waits for the read of the slot');
    stack.spareDisk.releaseStuck();
    await stack.clock.runUntilIdle();
    await read;
    assert.deepEqual(target, patternOf(80, 8));
    assert.equal(stack.core.parts.allocator.freeSlots, free, 'the record is not durable yet');
    letGo();
    await stack.clock.run(home);
    assert.equal(stack.core.parts.allocator.freeSlots, free + 1);
    await finish(stack);
  });

  it('R1 a client’s write of the same granule is never lost to it', async () => {
    for (let seed = 0; seed < 20; seed += 1) {
      const stack = await movedStack({ seed: `race ${seed}` });
      const home = stack.device.message(['unremap', '80', '8']);
      for (let turns = 0; turns < seed; turns += 1) await Promise.resolve();
      const write = stack.device.write(patternOf(83, 2, 2), 83 * sectorBytes, IoFlags.none);
      await stack.clock.run(Promise.all([home, write]));
      await stack.clock.run(stack.device.flush());
      const expected = patternOf(80, 8);
      expected.set(patternOf(83, 2, 2), 3 * sectorBytes);
      assert.deepEqual(await readSectors(stack, 80, 8), expected);
      assert.equal(stack.core.table.totals().entries, 0);
      assert.deepEqual(mainImage(stack, 80, 8), expected);
      await finish(stack);
    }
  });
});

describe('verify', () => {
  it('R19 takes home what was moved without proof, and keeps what main still fails', async () => {
    const stack = makeStack({ seed: 'verify' });
    // Every second granule of 200 is bad: the budget is spent long before the end.
    for (let granule = 0; granule < 200; granule += 2)
      stack.mainDisk.faults.addBadSectors(granule * 8, 1, { on: 'write' });
    await writeSectors(stack, 0, patternOf(0, 1600));
    assert.ok(stack.mainDisk.faults.struckSectors('write').size <= 100);
    const moved = remappedGranules(stack);
    const unverified = moved.filter(
      (granule) => (stack.core.stateOf(granule).flags & StateFlags.unverified) !== 0,
    );
    const falseOnes = moved.filter((granule) => granule % 2 === 1);
    assert.ok(
      falseOnes.length > 0 && unverified.length > falseOnes.length,
      `budget ${writeBudget.failuresMax}`,
    );
    const reply = await ask(stack, 'verify');
    const bad = unverified.length - falseOnes.length;
    const kept = moved.length - unverified.length;
    assert.equal(
      reply,
      `verify: home ${falseOnes.length}, main-bad ${bad}, kept ${kept}, readable 0, unreadable 0, gone 0`,
    );
    assert.deepEqual(
      remappedGranules(stack),
      Array.from({ length: 100 }, (_, index) => index * 2),
      'exactly the bad granules are left',
    );
    assert.deepEqual(await readSectors(stack, 0, 1600), patternOf(0, 1600));
    assert.match(await ask(stack, 'verify'), /^verify: home 0, main-bad 0, kept 100,/, 'no guess is left');
    await finish(stack);
  });

  it('R16 a main that takes no write at all proves nothing about a sector, whatever its error says', async () => {
    const stack = makeStack({ seed: 'verify' });
    for (let granule = 0; granule < 200; granule += 2)
      stack.mainDisk.faults.addBadSectors(granule * 8, 1, { on: 'write' });
    await writeSectors(stack, 0, patternOf(0, 1600));
    const before = await ask(stack, 'list');
    stack.mainDisk.faults.addBadSectors(0, 2048, { on: 'write', writeErrno: Errno.ENODATA });
    assert.match(
      await ask(stack, 'verify'),
      /^verify: home 0, main-bad 0, [^\n]*\nstopped: main does not answer\nnext /,
    );
    assert.equal(await ask(stack, 'list'), before, 'what is unverified is so still');
    stack.mainDisk.faults.removeBadSectors(0, 2048);
    await stack.clock.runFor(2000);
    assert.match(await ask(stack, 'verify'), /^verify: home \d\d+, main-bad 0,[^\n]*$/);
    await finish(stack);
  });

  it('leaves what the operator moved, and what failed for itself', async () => {
    const stack = await movedStack();
    await ask(stack, 'remap', '0', '8');
    assert.match(await ask(stack, 'verify'), /^verify: home 0, main-bad 0, kept 2,/);
    assert.deepEqual(remappedGranules(stack), [0, 10]);
    await finish(stack);
  });

  it('R4 drops the mark of a sector that reads again, durably, and keeps the others', async () => {
    const stack = makeStack();
    await writeSectors(stack, 80, patternOf(80, 8));
    stack.mainDisk.faults.addBadSectors(81, 2, { on: 'read' });
    await failedRead(stack, 80, 8);
    stack.mainDisk.faults.removeBadSectors(82, 1);
    assert.equal(
      await ask(stack, 'verify', '80', '8'),
      'verify: home 0, main-bad 0, kept 0, readable 1, unreadable 1, gone 0',
    );
    assert.equal(stack.metadata.replay().get(10)?.unreadable, 0b10);
    assert.deepEqual(await readSectors(stack, 82, 6), patternOf(82, 6));
    assert.equal(stack.spareDisk.counts.writes, 0, 'I4 nothing is moved');
    await finish(stack);
  });

  it('works for seconds, then says where to go on, and comes to the end', async () => {
    const clocks: VirtualClock[] = [];
    const stack = makeStack({
      mainBytes: 8 << 20,
      spareBytes: 8 << 20,
      wrapMain: (below) => new SlowReads(below, clocks),
    });
    clocks.push(stack.clock);
    const records = Array.from({ length: 1500 }, (_, granule) => ({
      type: 'granules' as const,
      granule,
      granuleCount: 1,
      slot: -1,
      held: 0,
      unreadable: 1,
      gone: 0,
      flags: 0,
      cause: StateCause.readError,
      unixSeconds: 0,
    }));
    for (const record of records) await stack.clock.run(stack.core.commit([record]));
    let words = ['verify'];
    let readable = 0;
    let rounds = 0;
    for (;;) {
      const startMs = stack.clock.nowMs();
      const reply = await ask(stack, ...words);
      rounds += 1;
      assert.ok(stack.clock.nowMs() - startMs < 10_000, 'before the sender gives up');
      readable += Number(/readable (\d+)/.exec(reply)?.[1]);
      const next = /^next (\d+) (\d+)$/m.exec(reply);
      if (next === null) break;
      words = ['verify', next[1]!, next[2]!];
    }
    assert.ok(rounds > 1, 'one message was not enough');
    assert.equal(readable, 1500);
    assert.equal(stack.core.table.totals().entries, 0);
    await finish(stack);
  });
});

describe('remap', () => {
  it('R31 works for seconds, then says where to go on', async () => {
    const clocks: VirtualClock[] = [];
    const stack = makeStack({
      mainBytes: 8 << 20,
      spareBytes: 8 << 20,
      wrapMain: (below) => new SlowReads(below, clocks),
    });
    clocks.push(stack.clock);
    const replies: string[] = [];
    let words = ['0', '8000'];
    for (;;) {
      const startMs = stack.clock.nowMs();
      const reply = await ask(stack, 'remap', ...words);
      assert.ok(stack.clock.nowMs() - startMs < 10_000, 'before the sender gives up');
      replies.push(reply);
      const next = /^next (\d+) (\d+)$/m.exec(reply);
      if (next === null) break;
      words = [next[1]!, next[2]!];
    }
    assert.ok(replies.length > 1, 'one message was not enough');
    const moved = replies.reduce((sum, reply) => sum + Number(/^remapped (\d+) of /.exec(reply)?.[1]), 0);
    assert.equal(moved, 1000);
    assert.equal(remappedGranules(stack).length, 1000);
    await finish(stack);
  });
});

describe('retire', () => {
  it('M16 empties the table: data home, marks of unreadable sectors gone', async () => {
    const stack = await movedStack();
    await writeSectors(stack, 160, patternOf(160, 8));
    stack.mainDisk.faults.addBadSectors(161, 1, { on: 'read' });
    await failedRead(stack, 160, 8);
    assert.deepEqual((await ask(stack, 'retire')).split('\n'), [
      'retire: home 1, main-bad 0, spare-bad 0, marks-dropped 1, gone 0',
      'the table is empty: main can be used without dm-remap',
    ]);
    assert.equal(stack.metadata.replay().size, 0);
    assert.deepEqual(mainImage(stack, 80, 8), patternOf(80, 8));
    await finish(stack);
  });

  it('R4 keeps what is gone, for main would give old bytes, and what main does not take', async () => {
    const stack = await movedStack();
    const { slot } = stack.core.stateOf(10);
    stack.spareDisk.faults.addBadSectors(slot * 8 + 3, 1, { on: 'read' });
    await failedRead(stack, 80, 8);
    stack.mainDisk.faults.addBadSectors(96, 1, { on: 'write' });
    await writeSectors(stack, 96, patternOf(96, 8));
    assert.deepEqual((await ask(stack, 'retire')).split('\n'), [
      'retire: home 1, main-bad 1, spare-bad 0, marks-dropped 0, gone 1',
      '2 blocks stay in the table',
    ]);
    const { error, bytes } = await failedRead(stack, 80, 8);
    assert.equal(error.kind, 'lost');
    assert.deepEqual(bytes.slice(0, 3 * sectorBytes), patternOf(80, 3));
    await finish(stack);
  });
});
