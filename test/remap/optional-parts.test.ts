import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { failedSectors, finish, makeStack, patternOf, remappedGranules, type Stack } from './remap-stack.ts';

const sectors = 2048;

/** Requests over bad sectors, one after the other: what is answered, and what main holds in the end. */
async function story(
  stack: Stack,
  between: (step: number) => Promise<unknown>,
): Promise<{ answers: unknown[]; main: Uint8Array; moved: number[] }> {
  const random = new SeededRandom('optional parts');
  const { clock, device, mainDisk } = stack;
  mainDisk.faults.addBadSectors(60 * 8 + 5, 2, { on: 'read' });
  for (const granule of [3, 40, 41, 100, 200]) {
    mainDisk.faults.addBadSectors(granule * 8 + 2, 3, { on: granule === 100 ? 'both' : 'write' });
  }
  const answers: unknown[] = [];
  for (let step = 0; step < 200; step += 1) {
    const granule = random.chance(0.7) ? random.pick([3, 40, 60, 100, 200]) : random.below(250);
    const sector = granule * 8 + random.below(8);
    const count = 1 + random.below(16);
    if (random.chance(0.5)) {
      await clock.run(device.write(patternOf(sector, count, step), sector * 512));
      continue;
    }
    const bytes = new Uint8Array(count * 512);
    const failure = await clock.run(
      device.read(bytes, sector * 512).then(
        () => undefined,
        (error) => error,
      ),
    );
    answers.push(failure === undefined ? Buffer.from(bytes).toString('base64') : failedSectors(failure));
    await between(step);
  }
  await clock.run(device.flush());
  return { answers, main: mainDisk.cachedImage(0, sectors * 512), moved: remappedGranules(stack) };
}

describe('parts that can be off', () => {
  it('I23 without salvager, reading back, listings, statistics and health every byte is the same', async () => {
    const bare = makeStack({
      verifySlots: false,
      storedPolicies: { salvage: 'off', verify: 'off', 'main-cache': 'as-is' },
    });
    const full = makeStack({ storedPolicies: { verify: 'always' } });
    const watchers = [
      ['health'],
      ['stats'],
      ['list'],
      ['lost'],
      ['spare'],
      ['clear_stats'],
      ['query', '0', '2048'],
      ['map'],
    ];
    const without = await story(bare, () => Promise.resolve());
    const withAll = await story(full, (step) =>
      full.clock.run(full.device.message(watchers[step % watchers.length]!)),
    );
    assert(withAll.moved.length >= 4, 'the bad granules were moved');
    assert(
      withAll.answers.some((answer) => typeof answer !== 'string'),
      'some sectors could not be read',
    );
    assert.deepEqual(withAll, without);
    assert(
      full.spareDisk.counts.reads > bare.spareDisk.counts.reads,
      'one of them reads back what it writes',
    );
    await finish(bare, { lazyLost: true });
    await finish(full, { lazyLost: true });
  });
});
