import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { finish, makeStack, patternOf, readSectors, writeSectors } from '../remap-stack.ts';

describe('zeros that are written plainly', () => {
  it('R36 hold one piece of memory together, however many requests write them and hang', async () => {
    const stack = makeStack({ mainCapabilities: { writeZeroes: false } });
    await writeSectors(stack, 0, patternOf(0, 1024));
    const zeroings = Array.from({ length: 30 }, (_, index) =>
      stack.device.writeZeroes(index * 32 * 512, 16 * 512),
    );
    // Their first steps, without time passing at the disks.
    await new Promise((resolve) => setImmediate(resolve));
    const { usedBytes } = stack.arena;
    assert.equal(usedBytes, Math.min(64 * 1024, stack.arena.largestPiece('remap')));
    await stack.clock.run(Promise.all(zeroings));
    assert.equal(stack.mainDisk.counts.writeZeroes, 0);
    assert.equal(stack.arena.usedBytes, 0, 'given back by the last one');
    const expected = patternOf(0, 1024);
    for (let index = 0; index < 30; index += 1) expected.fill(0, index * 32 * 512, (index * 32 + 16) * 512);
    assert.deepEqual(await readSectors(stack, 0, 1024), expected);
    await stack.clock.run(stack.device.writeZeroes(0, 512));
    await finish(stack);
  });

  for (const remapBytes of [20, 24, 32, 48, 64].map((kibibytes) => kibibytes * 1024)) {
    it(`I14 leave room for the moves of what main fails, in a reserve of ${remapBytes} bytes`, async () => {
      const stack = makeStack({ remapBytes, mainCapabilities: { writeZeroes: false } });
      await writeSectors(stack, 0, patternOf(0, 64));
      stack.mainDisk.faults.addBadSectors(8, 24, { on: 'both' });
      let isDone = false;
      void stack.device.writeZeroes(0, 64 * 512).then(() => {
        isDone = true;
      });
      await stack.clock.runFor(60_000);
      assert.ok(isDone, 'zeros that wait for the memory of a move, and hold it');
      assert.deepEqual(await readSectors(stack, 0, 64), new Uint8Array(64 * 512));
      assert.equal(stack.arena.usedBytes, 0);
      await finish(stack);
    });
  }

  for (const { reserve, name, doneBefore } of [
    {
      reserve: 'client',
      name: 'I14 need no memory of clients, who may stand behind them with all of it',
      doneBefore: 3,
    },
    { reserve: 'remap', name: 'wait for memory as a move does, and only the first of them', doneBefore: 0 },
  ] as const) {
    it(name, async () => {
      const stack = makeStack({ mainCapabilities: { writeZeroes: false } });
      await writeSectors(stack, 0, patternOf(0, 64));
      const taken: Uint8Array[] = [];
      for (let piece = stack.arena.take(4096, reserve); piece !== undefined; ) {
        taken.push(piece);
        piece = stack.arena.take(4096, reserve);
      }
      assert.ok(taken.length > 0);
      let done = 0;
      const zeroings = [0, 8, 16].map((sector) =>
        stack.device.writeZeroes(sector * 512, 8 * 512).then(() => {
          done += 1;
        }),
      );
      await stack.clock.runFor(1000);
      assert.equal(done, doneBefore);
      for (const piece of taken) stack.arena.release(piece);
      await stack.clock.run(Promise.all(zeroings));
      assert.equal(done, 3);
      const expected = patternOf(0, 64).fill(0, 0, 24 * 512);
      assert.deepEqual(await readSectors(stack, 0, 64), expected);
      await finish(stack);
    });
  }
});
