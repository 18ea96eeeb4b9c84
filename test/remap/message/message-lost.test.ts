import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sectorBytes } from '../../../src/block/block-device.ts';
import { Errno } from '../../../src/block/errno.ts';
import { StateCause } from '../../../src/metadata/mapping-state.ts';
import { MessageError } from '../../../src/remap/message/message-error.ts';
import {
  failedRead,
  failedSectors,
  finish,
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

/** Sectors 81 and 82 are unreadable on main. */
async function unreadableStack(options: Parameters<typeof makeStack>[0] = {}): Promise<Stack> {
  const stack = makeStack(options);
  await writeSectors(stack, 80, patternOf(80, 8));
  stack.mainDisk.faults.addBadSectors(81, 2, { on: 'read' });
  await failedRead(stack, 80, 8);
  assert.equal(stack.core.stateOf(10).unreadable, 0b110);
  return stack;
}

/** Sector 83 was acknowledged on the spare and is lost there; main has an older version. */
async function goneStack(): Promise<Stack> {
  const stack = makeStack();
  stack.mainDisk.load(patternOf(80, 8, 9), 80 * sectorBytes);
  stack.mainDisk.faults.addBadSectors(82, 1, { on: 'write' });
  await writeSectors(stack, 80, patternOf(80, 8));
  stack.mainDisk.faults.removeBadSectors(82, 1);
  stack.spareDisk.faults.addBadSectors(stack.core.stateOf(10).slot * 8 + 3, 1, { on: 'read' });
  await failedRead(stack, 80, 8);
  assert.equal(stack.core.stateOf(10).gone, 0b1000);
  return stack;
}

describe('lost zero', () => {
  it('R4, R13, R23 writes zeroes to lost sectors, durably, and to no other', async () => {
    for (const verb of [['lost', 'zero'], ['fill']]) {
      const stack = await unreadableStack();
      stack.mainDisk.faults.removeBadSectors(81, 2);
      assert.equal(
        await ask(stack, ...verb, '80', '8', 'yes'),
        `${verb.join(' ')}: zeroed 2, readable 0, failed 0`,
      );
      const expected = patternOf(80, 8);
      expected.fill(0, sectorBytes, 3 * sectorBytes);
      assert.deepEqual(await readSectors(stack, 80, 8), expected);
      assert.equal(stack.core.table.totals().entries, 0);
      assert.equal(stack.metadata.replay().size, 0);
      const media = stack.mainDisk.durableImage.slice(81 * sectorBytes, 83 * sectorBytes);
      assert.deepEqual(media, new Uint8Array(2 * sectorBytes), 'the zeroes are on the media');
      await finish(stack);
    }
  });

  it('R23 goes to the spare when main does not take the zeroes', async () => {
    const stack = await unreadableStack();
    stack.mainDisk.faults.addBadSectors(81, 2, { on: 'both' });
    assert.equal(await ask(stack, 'fill', '80', '8', 'yes'), 'fill: zeroed 2, readable 0, failed 0');
    assert.deepEqual(remappedGranules(stack), [10]);
    assert.equal(stack.core.stateOf(10).held, 0b110, 'R9 nothing else of the granule is moved');
    const expected = patternOf(80, 8);
    expected.fill(0, sectorBytes, 3 * sectorBytes);
    assert.deepEqual(await readSectors(stack, 80, 8), expected);
    await finish(stack);
  });

  it('R4 clears what is gone, and never shows main’s older bytes', async () => {
    const stack = await goneStack();
    assert.equal(await ask(stack, 'lost', 'zero', '83', 'yes'), 'lost zero: zeroed 1, readable 0, failed 0');
    const expected = patternOf(80, 8);
    expected.fill(0, 3 * sectorBytes, 4 * sectorBytes);
    assert.deepEqual(await readSectors(stack, 80, 8), expected);
    assert.equal(await ask(stack, 'lost'), '');
    await finish(stack);
  });

  it('R1 a client that writes a lost sector first is not overwritten', async () => {
    for (let seed = 0; seed < 20; seed += 1) {
      const stack = await unreadableStack({ seed: `fill ${seed}` });
      stack.mainDisk.faults.removeBadSectors(81, 2);
      const write = stack.device.write(patternOf(81, 1, 2), 81 * sectorBytes);
      for (let turns = 0; turns < seed * 3; turns += 1) await Promise.resolve();
      const fill = stack.device.message(['fill', '80', '8', 'yes']);
      await stack.clock.run(Promise.all([write, fill]));
      const expected = patternOf(80, 8);
      expected.set(patternOf(81, 1, 2), sectorBytes);
      expected.fill(0, 2 * sectorBytes, 3 * sectorBytes);
      assert.deepEqual(await readSectors(stack, 80, 8), expected, 'the write was sent first');
      await finish(stack);
    }
  });

  it('wants to be meant', async () => {
    const stack = await unreadableStack();
    for (const words of [
      ['fill', '81'],
      ['lost', 'zero', '81', '2'],
      ['lost', 'zero'],
      ['lost', 'all'],
    ])
      await assert.rejects(ask(stack, ...words), MessageError);
    assert.equal(stack.core.stateOf(10).unreadable, 0b110);
    await finish(stack);
  });
});

describe('retry', () => {
  it('R4, R18 asks main again, and moves what it gives to the spare', async () => {
    const stack = await unreadableStack();
    stack.mainDisk.faults.removeBadSectors(82, 1);
    assert.equal(await ask(stack, 'retry', '80', '8'), 'retry: readable 1, moved 1, unreadable 1, gone 0');
    assert.deepEqual(remappedGranules(stack), [10]);
    const state = stack.core.stateOf(10);
    assert.deepEqual([state.held, state.unreadable, state.cause], [0b100, 0b10, StateCause.salvage]);
    assert.deepEqual(await readSectors(stack, 82, 6), patternOf(82, 6));
    await finish(stack);
  });

  it('asks three times before it believes main, and takes what comes last', async () => {
    const stack = await unreadableStack();
    stack.mainDisk.faults.removeBadSectors(81, 2);
    stack.mainDisk.faults.failNext(2, { kinds: ['read'], sector: 81, errno: Errno.ENODATA });
    assert.equal(await ask(stack, 'retry', 'all'), 'retry: readable 2, moved 2, unreadable 0, gone 0');
    assert.equal(stack.mainDisk.faults.counts.transient, 2);
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
    await finish(stack);
  });

  it('R31 leaves the reserve to client writes: with it, what was saved stays on main', async () => {
    const stack = await unreadableStack();
    const { allocator } = stack.core.parts;
    while (allocator.freeSlots > allocator.reserveSlots) allocator.allocate(1, false);
    stack.mainDisk.faults.removeBadSectors(81, 2);
    assert.equal(await ask(stack, 'retry', 'all'), 'retry: readable 2, moved 0, unreadable 0, gone 0');
    assert.equal(stack.core.table.totals().entries, 0);
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
    await assert.rejects(ask(stack, 'remap', '0'), /spare-full/);
    stack.mainDisk.faults.addBadSectors(161, 1, { on: 'write' });
    await writeSectors(stack, 160, patternOf(160, 8));
    assert.deepEqual(remappedGranules(stack), [20], 'a client’s write may');
  });

  it('R4 never asks main for what is gone', async () => {
    const stack = await goneStack();
    const reads = stack.mainDisk.counts.reads;
    assert.equal(await ask(stack, 'retry', 'all'), 'retry: readable 0, moved 0, unreadable 0, gone 1');
    assert.equal(stack.mainDisk.counts.reads, reads);
    assert.deepEqual(failedSectors((await failedRead(stack, 80, 8)).error), [83]);
    await finish(stack);
  });

  it('R15 says nothing about a sector while main does not answer at all', async () => {
    const stack = await unreadableStack();
    for (const errno of [Errno.ENODEV, Errno.EIO]) {
      stack.mainDisk.faults.setPathError(errno);
      assert.deepEqual((await ask(stack, 'retry', 'all')).split('\n'), [
        'retry: readable 0, moved 0, unreadable 2, gone 0',
        'stopped: main does not answer',
        'next 80 1968',
      ]);
      assert.equal(stack.core.stateOf(10).unreadable, 0b110);
    }
    stack.mainDisk.faults.setPathError(undefined);
    await finish(stack);
  });
});

describe('import suspect', () => {
  it('R34 marks what is neither moved nor lost, durably, and says how many', async () => {
    const stack = await unreadableStack();
    assert.equal(await ask(stack, 'import', 'suspect', '80', '4'), 'import: suspect 2, known 2');
    assert.deepEqual((await ask(stack, 'lost')).split('\n'), ['80 4 suspect']);
    assert.equal(stack.metadata.replay().get(10)?.unreadable, 0b1111);
    await finish(stack);
  });

  it('R23, R34 the first write goes to main, is read back, and clears the mark', async () => {
    const stack = makeStack();
    await ask(stack, 'import', 'suspect', '80', '8');
    await writeSectors(stack, 80, patternOf(80, 8));
    assert.equal(stack.core.table.totals().entries, 0);
    assert.equal(stack.mainDisk.counts.reads, 1, 'read back');
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
    await finish(stack);
  });

  it('R34 a move of one sector leaves the others suspect', async () => {
    const stack = makeStack();
    await ask(stack, 'import', 'suspect', '80', '8');
    stack.mainDisk.faults.addBadSectors(80, 1, { on: 'write', writeErrno: Errno.ENODATA });
    await writeSectors(stack, 80, patternOf(80, 1));
    assert.deepEqual((await ask(stack, 'query', '80', '8')).split('\n'), [
      `80 1 spare ${stack.core.stateOf(10).slot * 8} writeError suspect`,
      '81 7 suspect',
    ]);
    await finish(stack);
  });

  it('R34 the first read asks main once: what it gives is data again, what it does not is unreadable', async () => {
    const stack = makeStack();
    await writeSectors(stack, 80, patternOf(80, 8));
    await ask(stack, 'import', 'suspect', '80', '8');
    stack.mainDisk.faults.addBadSectors(83, 1, { on: 'read' });
    const { error, bytes } = await failedRead(stack, 80, 8);
    assert.deepEqual(failedSectors(error), [83]);
    assert.deepEqual(bytes.slice(0, 3 * sectorBytes), patternOf(80, 3));
    assert.deepEqual(bytes.slice(4 * sectorBytes), patternOf(84, 4));
    assert.deepEqual((await ask(stack, 'lost')).split('\n'), ['83 1 unreadable']);
    assert.equal(stack.metadata.replay().get(10)?.flags, 0, 'it has had its one try');
    const struck = stack.mainDisk.faults.counts.badSectorReads;
    await failedRead(stack, 83, 1);
    assert.equal(stack.mainDisk.faults.counts.badSectorReads, struck, 'R18 and is not asked again');
    await finish(stack);
  });

  it('R34 a main that does not answer decides nothing about a suspect', async () => {
    const stack = makeStack();
    await writeSectors(stack, 80, patternOf(80, 8));
    await ask(stack, 'import', 'suspect', '80', '8');
    stack.mainDisk.faults.setPathError(Errno.EIO);
    await failedRead(stack, 80, 8);
    stack.mainDisk.faults.setPathError(undefined);
    await stack.clock.runFor(2000);
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8));
    assert.equal(stack.core.table.totals().entries, 0);
    await finish(stack);
  });

  it('I27 what a retry saves is not moved through memory that a probe without an answer may still fill', async () => {
    for (let step = 1; step <= 40; step += 1) {
      const stack = makeStack({ seed: `late probe ${step}` });
      const { faults } = stack.mainDisk;
      await writeSectors(stack, 0, patternOf(0, 2048));
      faults.addBadSectors(80, 2, { on: 'read' });
      await failedRead(stack, 80, 2);
      faults.removeBadSectors(80, 2);
      faults.failNext(3, { kinds: ['read'], sector: 81, errno: Errno.EIO });
      // The first granule that the probe asks.
      const late = { doneMs: 1000 + step * 0.05, answerMs: 1000 };
      faults.delayNext(1, late, { kinds: ['read'], sector: 0, sectorCount: 8 });
      const reply = await ask(stack, 'retry', '80', '2');
      assert.match(reply, /readable 1, moved 0, unreadable 1/);
      assert.equal(faults.counts.late, 1, 'the probe has had no answer in time');
      await stack.clock.runFor(2000);
      assert.deepEqual(await readSectors(stack, 80, 1), patternOf(80, 1));
      await finish(stack);
    }
  });

  it('R34 many readers of one suspect share one try', async () => {
    const stack = makeStack();
    await writeSectors(stack, 80, patternOf(80, 8));
    await ask(stack, 'import', 'suspect', '80', '8');
    stack.mainDisk.faults.addBadSectors(83, 1, { on: 'read' });
    const reads = Array.from({ length: 10 }, () =>
      stack.device.read(new Uint8Array(sectorBytes), 83 * sectorBytes).catch(() => 'failed'),
    );
    const results = await stack.clock.run(Promise.all(reads));
    assert.deepEqual(new Set(results), new Set(['failed']));
    assert.equal(stack.mainDisk.faults.counts.badSectorReads, 1);
    await finish(stack);
  });
});
