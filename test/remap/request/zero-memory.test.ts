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
    assert.equal(usedBytes, stack.arena.largestPiece('client'));
    await stack.clock.run(Promise.all(zeroings));
    assert.equal(stack.mainDisk.counts.writeZeroes, 0);
    assert.equal(stack.arena.usedBytes, 0, 'given back by the last one');
    const expected = patternOf(0, 1024);
    for (let index = 0; index < 30; index += 1) expected.fill(0, index * 32 * 512, (index * 32 + 16) * 512);
    assert.deepEqual(await readSectors(stack, 0, 1024), expected);
    await stack.clock.run(stack.device.writeZeroes(0, 512));
    await finish(stack);
  });

  it('wait for memory as a write of a client does, and only the first of them', async () => {
    const stack = makeStack({ mainCapabilities: { writeZeroes: false } });
    await writeSectors(stack, 0, patternOf(0, 64));
    const taken: Uint8Array[] = [];
    for (let piece = stack.arena.take(4096, 'client'); piece !== undefined; ) {
      taken.push(piece);
      piece = stack.arena.take(4096, 'client');
    }
    let done = 0;
    const zeroings = [0, 8, 16].map((sector) =>
      stack.device.writeZeroes(sector * 512, 8 * 512).then(() => {
        done += 1;
      }),
    );
    await stack.clock.runFor(1000);
    assert.equal(done, 0);
    for (const piece of taken) stack.arena.release(piece);
    await stack.clock.run(Promise.all(zeroings));
    assert.equal(done, 3);
    const expected = patternOf(0, 64).fill(0, 0, 24 * 512);
    assert.deepEqual(await readSectors(stack, 0, 64), expected);
    await finish(stack);
  });
});
