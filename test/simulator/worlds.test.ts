import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { FaultCounts } from '../../src/simulator/simulated-faults.ts';
import { runWorld } from '../../src/simulator/world/world.ts';
import { optionsOfReplay, replayLine } from './failed-world.ts';
import { gapsOf, statesLine } from './states/states-text.ts';
import { summaryText } from './summary-text.ts';
import { firstHalf, runWorlds } from './worlds.ts';

/** What a disk of these worlds may do: each must have struck both disks (I26). */
const faults: readonly (keyof FaultCounts)[] = [
  'badSectorReads',
  'badSectorWrites',
  'transient',
  'path',
  'unplugs',
  'flush',
  'lyingFlushes',
  'stuck',
  'late',
  'slow',
  'partialWrites',
  'healedSectors',
  'droppedSectors',
  'powerCuts',
  'kills',
  'powerCutLostSectors',
];

/** States of the device and of its metadata that must have been reached. */
const states: readonly string[] = [
  'ok',
  'spare-full',
  'spare-failed',
  'main-failed',
  'main-writes-failed',
  'metadata-failed',
  'metadata open',
  'metadata failed',
  'metadata with a replica out of sync',
  'suspended',
];

const requests: readonly string[] = [
  'read',
  'write',
  'flush',
  'discard',
  'write-zeroes',
  'suspend',
  'message remap',
  'message unremap',
  'message verify',
  'message retry',
  'message retire',
  'message import',
  'message fill',
  'message policy',
];

describe('worlds with every fault of a disk', () => {
  it('R1-R24 M1-M9 I8 I17 I26 R36 keep what was acknowledged, answer everything, and work again when all is well', async (test) => {
    const { outcome, seeds, asked, reached } = await runWorlds(firstHalf);
    test.diagnostic(`${seeds} seeds\n${summaryText(outcome, 1)}\n${statesLine(asked, reached)}`);
    // The plans' own seeds have all of it several times: what is missing here is reached no more.
    assert.deepEqual(gapsOf(asked, reached), [], 'rows of the event table, and rules, that no world reaches');
    for (const fault of faults) {
      assert.ok(outcome.mainFaults[fault] > 0, `main never had: ${fault}`);
      assert.ok(outcome.spareFaults[fault] > 0, `the spare never had: ${fault}`);
    }
    assert.ok(outcome.mainFaults.liedSectors + outcome.spareFaults.liedSectors > 0, 'no lie ever showed');
    for (const state of states) assert.ok((outcome.states[state] ?? 0) > 0, `never reached: ${state}`);
    for (const verb of requests) assert.ok((outcome.requests[verb] ?? 0) > 0, `never answered: ${verb}`);
    for (const how of ['close', 'power', 'kill'])
      assert.ok((outcome.sessionEnds[how] ?? 0) > 50, `sessions that ended by ${how}`);
    assert.ok(outcome.overlaps > 500, `only ${outcome.overlaps} sectors were written by two clients at once`);
    assert.ok(outcome.listLines > 500, `only ${outcome.listLines} lines of the lists`);
    for (const target of ['linear', 'dust', 'flakey', 'delay'])
      assert.ok((outcome.targetFaults[target] ?? 0) > 0, `never under main: ${target}`);
    assert.ok(outcome.foreignDisks > 5, `another disk was in the place of one ${outcome.foreignDisks} times`);
    assert.ok(outcome.foreignReopens > 5, `another disk was asked who it is ${outcome.foreignReopens} times`);
    assert.ok(outcome.remappedGranules > 300, `only ${outcome.remappedGranules} remaps`);
    assert.ok(outcome.checkpoints > 50, `only ${outcome.checkpoints} checkpoints`);
    assert.ok(outcome.lostSectors > 0, 'no sector was ever lost');
  });

  it('repeat exactly from their seed', async () => {
    for (const seed of [3, 7, 44]) {
      assert.deepEqual(await runWorld({ seed, forkEvery: 10 }), await runWorld({ seed, forkEvery: 10 }));
    }
  });

  it('repeat from the line that a failure prints', () => {
    const options = { seed: 7, forkEvery: 1, oneClient: true, sessions: 2, steps: [0, 4, 9] };
    const line = replayLine(options);
    assert.deepEqual(optionsOfReplay(line.slice(line.indexOf('{'), line.lastIndexOf('}') + 1)), options);
    for (const wrong of ['', '{}', '7', '{"seed":"7"}', '{"seed":7,"steps":[0.5]}']) {
      assert.equal(optionsOfReplay(wrong), undefined, wrong);
    }
  });
});
