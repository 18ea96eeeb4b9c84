import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';

function draws(random: SeededRandom, count: number): number[] {
  return Array.from({ length: count }, () => random.u32());
}

describe('SeededRandom', () => {
  it('repeats a run from its seed, number or text', () => {
    for (const seed of [0, 1, 0xffffffff, '', 'world 7']) {
      assert.deepEqual(draws(new SeededRandom(seed), 50), draws(new SeededRandom(seed), 50));
    }
  });

  it('gives unrelated streams to neighbouring seeds', () => {
    const first = new Set(draws(new SeededRandom(1), 1000));
    const shared = draws(new SeededRandom(2), 1000).filter((value) => first.has(value));
    assert.ok(shared.length <= 2, `${shared.length} of 1000 draws are equal`);
  });

  it('forks by seed and label, whatever was drawn before', () => {
    const early = new SeededRandom('seed').fork('disk');
    const parent = new SeededRandom('seed');
    draws(parent, 17);
    assert.deepEqual(draws(parent.fork('disk'), 10), draws(early, 10));
    assert.notDeepEqual(
      draws(new SeededRandom('seed').fork('a'), 4),
      draws(new SeededRandom('seed').fork('b'), 4),
    );
  });

  it('keeps below, between and pick inside their limits, and reaches every value', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 9 }), (seed, limit) => {
        const random = new SeededRandom(seed);
        const seen = new Set<number>();
        for (let round = 0; round < 400; round += 1) {
          const value = random.below(limit);
          assert.ok(Number.isInteger(value) && value >= 0 && value < limit);
          seen.add(value);
          const between = random.between(3, 4);
          assert.ok(between >= 3 && between < 4);
        }
        assert.equal(seen.size, limit);
      }),
      { numRuns: 50 },
    );
    assert.throws(() => new SeededRandom(1).below(0), /not 1 to 2\^32/);
  });

  it('takes chances at about their probability, and never or always at the ends', () => {
    const random = new SeededRandom(5);
    const count = (probability: number) =>
      Array.from({ length: 10_000 }, () => random.chance(probability)).filter(Boolean).length;
    assert.equal(count(0), 0);
    assert.equal(count(1), 10_000);
    assert.ok(Math.abs(count(0.25) - 2500) < 250);
  });

  it('fills every byte', () => {
    const bytes = new Uint8Array(64 * 1024 + 3);
    new SeededRandom(9).fill(bytes);
    const histogram = new Uint32Array(256);
    for (const byte of bytes) histogram[byte]! += 1;
    assert.ok(histogram.every((occurrences) => occurrences > 150 && occurrences < 400));
  });
});
