import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { World, type WorldOptions, type WorldOutcome } from '../../src/simulator/world.ts';

async function run(options: WorldOptions): Promise<WorldOutcome> {
  try {
    return await new World(options).run();
  } catch (error) {
    throw new Error(`world ${JSON.stringify(options)}`, { cause: error });
  }
}

/** One run without a cut, then one for every `stride`-th device operation of it. */
async function cutEverywhere(options: WorldOptions, stride: number): Promise<void> {
  const { deviceOperations } = await run(options);
  assert.ok(deviceOperations > 200, `only ${deviceOperations} operations to cut at`);
  for (let cutAt = 1; cutAt <= deviceOperations; cutAt += stride) {
    const outcome = await run({ ...options, cutAt });
    assert.equal(outcome.cut, true, `the cut at ${cutAt} did not happen`);
  }
}

describe('a world without power cuts', () => {
  it('R1 R4 R23 keeps every acknowledged byte over bad sectors, restarts and checkpoints', async () => {
    let remapped = 0;
    let checkpoints = 0;
    let lost = 0;
    for (let seed = 1; seed <= 20; seed += 1) {
      const outcome = await run({ seed, clientOperations: 40, clients: 1 + (seed % 3) });
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
    const options = { seed: 7, clientOperations: 40, clients: 2, cutAt: 100 };
    assert.deepEqual(await run(options), await run(options));
  });
});

describe('a power cut at every device operation', () => {
  it('M4 M5 I12 one client loses nothing that was acknowledged and flushed', async () => {
    await cutEverywhere({ seed: 11, clientOperations: 40 }, 1);
  });

  it('R1 R22 I28 four clients that share granules lose nothing that was acknowledged and flushed', async () => {
    await cutEverywhere({ seed: 12, clientOperations: 20, clients: 4 }, 1);
  });

  it('I8 a killed process loses nothing that was acknowledged, flushed or not', async () => {
    await cutEverywhere({ seed: 13, clientOperations: 40, clients: 2, cutKind: 'kill' }, 3);
  });
});
