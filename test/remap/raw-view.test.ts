import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type BlockDevice, type Extent, sectorBytes } from '../../src/block/block-device.ts';
import { Errno } from '../../src/block/errno.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';
import { extentsBytesMax } from '../../src/remap/request/remapped-extents.ts';
import {
  failedRead,
  failedSectors,
  failureOf,
  finish,
  makeStack,
  patternOf,
  type Stack,
  writeSectors,
} from './remap-stack.ts';

/** Granule 10 remapped, sector 97 unreadable, sectors 112 to 119 gone; all else as `patternOf`. */
async function woundedStack(wrapMain?: (main: BlockDevice) => BlockDevice): Promise<Stack> {
  const stack = makeStack(wrapMain === undefined ? {} : { wrapMain });
  await writeSectors(stack, 0, patternOf(0, 256));
  const { faults } = stack.mainDisk;
  faults.addBadSectors(80, 8, { on: 'write' });
  faults.addBadSectors(112, 8, { on: 'write' });
  faults.addBadSectors(97, 1, { on: 'read' });
  await writeSectors(stack, 80, patternOf(80, 8, 2));
  await writeSectors(stack, 112, patternOf(112, 8, 2));
  stack.spareDisk.faults.addBadSectors(stack.core.stateOf(14).slot * 8, 8, { on: 'read' });
  await failedRead(stack, 112, 8);
  await failedRead(stack, 97, 1);
  const { remappedGranules, unreadableSectors, goneSectors } = stack.device.status();
  assert.deepEqual([remappedGranules, unreadableSectors, goneSectors], [1, 1, 8], 'wounded as asked');
  return stack;
}

describe('a raw view of main', () => {
  it('R29 answers EIO for remapped and gone sectors, where main is stale, and main’s bytes for all others', async () => {
    const stack = await woundedStack();
    const view = stack.device.rawView();
    const bytes = new Uint8Array(64 * sectorBytes);
    const error = await failureOf(stack.clock.run(view.read(bytes, 64 * sectorBytes)));
    const away = [80, 81, 82, 83, 84, 85, 86, 87, 112, 113, 114, 115, 116, 117, 118, 119];
    const failed = failedSectors(error);
    for (const sector of away) assert.ok(failed.includes(sector), `${sector}`);
    assert.equal(error.errno, Errno.EIO);
    assert.deepEqual(bytes.subarray(0, 16 * sectorBytes), patternOf(64, 16));
    await stack.clock.run(view.read(bytes.subarray(0, 8 * sectorBytes), 0));
    assert.deepEqual(bytes.subarray(0, 8 * sectorBytes), patternOf(0, 8));
    await view.close();
    await finish(stack);
  });

  it('R29 asks main for unreadable sectors: main alone has them; and repairs, moves and marks nothing', async () => {
    const stack = await woundedStack();
    const view = stack.device.rawView();
    const before = stack.metadata.durable.length;
    const { badSectorReads } = stack.mainDisk.faults.counts;
    const sector = new Uint8Array(sectorBytes);
    const error = await failureOf(stack.clock.run(view.read(sector, 97 * sectorBytes)));
    assert.equal(error.kind, 'medium');
    assert.equal(stack.mainDisk.faults.counts.badSectorReads, badSectorReads + 1);
    stack.mainDisk.faults.removeBadSectors(97, 1);
    await stack.clock.run(view.read(sector, 97 * sectorBytes));
    assert.deepEqual(sector, patternOf(97, 1));
    assert.equal(stack.metadata.durable.length, before);
    assert.equal(stack.device.status().unreadableSectors, 1);
    await view.close();
    await finish(stack);
  });

  it('R29 is read-only', async () => {
    const stack = await woundedStack();
    const view = stack.device.rawView();
    assert.equal(view.capabilities.write, false);
    const requests = [view.write(new Uint8Array(512), 0), view.writeZeroes(0, 512), view.discard(0, 512)];
    for (const request of requests) assert.equal((await failureOf(request)).errno, Errno.EROFS);
    assert.equal((await failureOf(view.read(new Uint8Array(100), 0))).kind, 'invalid');
    await view.flush();
    await view.close();
    assert.equal((await failureOf(view.read(new Uint8Array(512), 0))).kind, 'closed');
    assert.equal((await failureOf(view.write(new Uint8Array(512), 0))).kind, 'closed');
    await finish(stack);
  });

  it('R1, R29 waits for a move of what it reads', async () => {
    const stack = await woundedStack();
    const view = stack.device.rawView();
    const lock = await stack.core.locks.acquire(0, 0);
    const { reads } = stack.mainDisk.counts;
    const reading = view.read(new Uint8Array(4096), 0);
    await stack.clock.runFor(100);
    assert.equal(stack.mainDisk.counts.reads, reads);
    stack.core.locks.release(lock);
    await stack.clock.run(reading);
    await view.close();
    await finish(stack);
  });
});

/** A main that says what it has holes in; `undefined`: it cannot say. */
class SparseDevice extends FilterDevice {
  readonly #answer: readonly Extent[] | undefined;

  constructor(below: BlockDevice, answer: readonly Extent[] | undefined) {
    super(below);
    this.#answer = answer;
  }

  override extents(_offset: number, length: number): Promise<readonly Extent[]> {
    if (this.#answer === undefined) return super.extents(this.geometry.sizeBytes, length);
    return Promise.resolve(
      this.#answer.map((extent) => ({ ...extent, length: Math.min(extent.length, length) })),
    );
  }
}

async function extentWords(stack: Stack, sector: number, sectorCount: number): Promise<string> {
  const extents = await stack.clock.run(
    stack.device.extents(sector * sectorBytes, sectorCount * sectorBytes),
  );
  return extents.map(({ length, state }) => `${state} ${length / sectorBytes}`).join(', ');
}

describe('extents of the remap device', () => {
  it('R29 a hole or zeros are main’s word, for what is neither remapped nor lost', async () => {
    for (const state of ['hole', 'zero'] as const) {
      const stack = await woundedStack((main) => new SparseDevice(main, [{ state, length: 1 << 20 }]));
      assert.equal(
        await extentWords(stack, 64, 64),
        `${state} 16, remapped 8, ${state} 9, unreadable 1, ${state} 14, gone 8, ${state} 8`,
      );
      await finish(stack);
    }
  });

  it('R29 what main does not say, or says of remapped and lost sectors below it, is data', async () => {
    const short = await woundedStack((main) => new SparseDevice(main, [{ state: 'hole', length: 4096 }]));
    assert.equal(await extentWords(short, 0, 16), 'hole 8, data 8');
    await finish(short);
    const below = await woundedStack(
      (main) => new SparseDevice(main, [{ state: 'remapped', length: 1 << 20 }]),
    );
    assert.equal(await extentWords(below, 0, 16), 'data 16');
    await finish(below);
    const silent = await woundedStack((main) => new SparseDevice(main, undefined));
    assert.equal(await extentWords(silent, 0, 16), 'data 16');
    await finish(silent);
  });

  it('R1 hold up no move, however long main takes to answer', async () => {
    const answers: (() => void)[] = [];
    class SlowToTell extends FilterDevice {
      override async extents(_offset: number, length: number): Promise<readonly Extent[]> {
        await new Promise<void>((resolve) => answers.push(resolve));
        return [{ state: 'hole', length }];
      }
    }
    const stack = await woundedStack((main) => new SlowToTell(main));
    const asking = stack.device.extents(64 * sectorBytes, 64 * sectorBytes);
    await stack.clock.runFor(100);
    assert.equal(answers.length, 1);
    stack.mainDisk.faults.addBadSectors(120, 1, { on: 'write' });
    await writeSectors(stack, 120, patternOf(120, 8));
    assert.equal(stack.core.table.get(15)?.held, 0xff, 'it moved while main was being asked');
    const answered = { yet: false };
    const extents = asking.finally(() => {
      answered.yet = true;
    });
    while (!answered.yet) {
      for (const answer of answers.splice(0)) answer();
      await stack.clock.runFor(1);
    }
    const words = (await extents).map(({ length, state }) => `${state} ${length / sectorBytes}`).join(', ');
    assert.equal(
      words,
      'hole 16, remapped 8, hole 9, unreadable 1, hole 14, gone 8, hole 8',
      'as it was asked',
    );
    assert.match(await extentWords(stack, 120, 8), /^remapped 8$/);
    await finish(stack);
  });

  it('R29 covers a bounded part of what was asked', async () => {
    const stack = makeStack({ mainBytes: 2 * extentsBytesMax });
    assert.equal(await extentWords(stack, 8, 200_000), `data ${extentsBytesMax / sectorBytes}`);
    await finish(stack);
  });
});
