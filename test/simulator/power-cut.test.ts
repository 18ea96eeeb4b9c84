import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { World, type WorldOutcome } from '../../src/simulator/world.ts';

const clientOperations = 40;

async function run(seed: number, cutAt?: number, cutKind: 'power' | 'kill' = 'power'): Promise<WorldOutcome> {
  const options = { seed, clientOperations, cutKind, ...(cutAt === undefined ? {} : { cutAt }) };
  try {
    return await new World(options).run();
  } catch (error) {
    throw new Error(`seed ${seed}, ${cutKind} cut at operation ${cutAt ?? 'none'}`, { cause: error });
  }
}

describe('a world without power cuts', () => {
  it('R1 R4 R23 keeps every acknowledged byte over bad sectors, restarts and checkpoints', async () => {
    let remapped = 0;
    let checkpoints = 0;
    let lost = 0;
    for (let seed = 1; seed <= 20; seed += 1) {
      const outcome = await run(seed);
      assert.equal(outcome.cut, false);
      assert.ok(outcome.badSectorWrites > 0, `seed ${seed} met no bad sector`);
      remapped += outcome.remappedGranules;
      checkpoints += outcome.checkpoints;
      lost += outcome.lostSectors;
    }
    assert.ok(remapped > 100, `only ${remapped} remaps in 20 seeds`);
    assert.ok(checkpoints > 20, `only ${checkpoints} checkpoints in 20 seeds`);
    assert.ok(lost > 0, 'no sector was ever lost');
  });

  it('repeats a run exactly from its seed', async () => {
    assert.deepEqual(await run(7, 100), await run(7, 100));
  });
});

describe('a power cut at every device operation', () => {
  for (const seed of [11, 12]) {
    it(`M4 M5 I12 loses nothing that was acknowledged and flushed (seed ${seed})`, async () => {
      const { deviceOperations } = await run(seed);
      assert.ok(deviceOperations > 200, `only ${deviceOperations} operations to cut at`);
      for (let cutAt = 1; cutAt <= deviceOperations; cutAt += 1) {
        const outcome = await run(seed, cutAt);
        assert.equal(outcome.cut, true, `the cut at ${cutAt} did not happen`);
      }
    });
  }

  it('I8 a killed process loses nothing that was acknowledged, flushed or not (seed 13)', async () => {
    const { deviceOperations } = await run(13);
    for (let cutAt = 1; cutAt <= deviceOperations; cutAt += 3) {
      const outcome = await run(13, cutAt, 'kill');
      assert.equal(outcome.cut, true, `the kill at ${cutAt} did not happen`);
    }
  });
});
