import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { smartAnswer } from '../../../src/control/health/smart-output.ts';
import { ataDisk, loopDevice, nvmeDisk, sasDisk, sleepingDisk } from './smart-outputs.ts';

function answerOf(output: string, exitStatus = 0) {
  return smartAnswer({ kind: 'ended', exitStatus, output }, 1_700_000_000);
}

function countersOf(output: string) {
  const { reading, state, detail } = answerOf(output);
  assert.equal(state, 'read', detail);
  return reading!.counters;
}

describe('what smartctl says', () => {
  it('of an ATA disk is six attributes, by the number that people are shown', () => {
    const output = ataDisk({
      1: 200_000_000,
      5: { value: 196_616, string: '8 (0 3)' },
      9: { value: 12_345, string: '12345h+01m' },
      187: 3,
      188: { value: 4_295_032_834, string: '4295032834' },
      194: { value: 34, string: '34 (Min/Max 20/45)' },
      197: 16,
      198: 0,
      199: 42,
    });
    assert.deepEqual(countersOf(output), {
      reallocatedSectors: 8,
      reportedUncorrectable: 3,
      commandTimeouts: 2,
      pendingSectors: 16,
      offlineUncorrectable: 0,
      linkErrors: 42,
    });
    const named = ataDisk({ 188: { value: 65_538, string: '0 1 2' }, 197: { value: 7, string: 'n/a' } });
    assert.deepEqual(
      countersOf(named),
      { commandTimeouts: 2, pendingSectors: 7 },
      'of a disk that smartctl knows',
    );
    const { reading } = answerOf(output);
    assert.deepEqual(
      [reading?.model, reading?.serial, reading?.failing, reading?.belowThreshold],
      ['ST2000DM008-2FR102', 'ZA10XXXX', false, false],
    );
  });

  it('of a failing disk comes with a bit mask, and its counts all the same', () => {
    const failing = answerOf(ataDisk({ 5: 2000 }, { passed: false, exitStatus: 8 + 16 + 64 }));
    assert.equal(failing.reading?.failing, true);
    assert.equal(failing.reading?.belowThreshold, true);
    assert.equal(failing.reading?.counters.reallocatedSectors, 2000);
    const log = answerOf(ataDisk({ 5: 0 }, { exitStatus: 4 + 32 + 64 + 128 })).reading;
    assert.deepEqual(
      [log?.failing, log?.belowThreshold],
      [false, false],
      'old errors in its logs are no failure',
    );
  });

  it('of an NVMe disk is its health log; a warm one is not a failing one', () => {
    const counters = countersOf(nvmeDisk({ media_errors: 5, available_spare: 88, percentage_used: 104 }));
    assert.deepEqual(counters, {
      mediaErrors: 5,
      wearPercent: 104,
      unsafeShutdowns: 17,
      spareBlocksUsedPercent: 12,
    });
    const flags = (critical: number) => {
      const { failing, belowThreshold, hot } = answerOf(nvmeDisk({ critical_warning: critical })).reading!;
      return [failing, belowThreshold, hot];
    };
    assert.deepEqual(flags(2), [false, false, true]);
    assert.deepEqual(flags(1), [false, true, false]);
    assert.deepEqual(flags(4), [true, false, false]);
    assert.deepEqual(flags(8), [true, false, false]);
    assert.deepEqual(flags(16), [false, true, false]);
  });

  it('of a SAS disk is its defects and what it could not correct', () => {
    assert.deepEqual(countersOf(sasDisk), { reallocatedSectors: 12, mediaErrors: 5 });
    assert.equal(answerOf(sasDisk).reading?.model, 'SEAGATE ST4000NM0023');
  });

  it('of a sleeping disk is that it sleeps', () => {
    const answer = answerOf(sleepingDisk, 2);
    assert.deepEqual([answer.state, answer.reading], ['asleep', undefined]);
  });

  it('of what is no disk is why, in its own words', () => {
    const answer = answerOf(loopDevice, 1);
    assert.deepEqual(
      [answer.state, answer.detail],
      ['not-supported', '/dev/loop0: Unable to detect device type'],
    );
  });

  it('may be anything at all: then it is no answer, and never an exception', () => {
    for (const output of ['', 'Segmentation fault', '[]', 'null', '{"smartctl":{}}', '{"smartctl":3}']) {
      assert.equal(answerOf(output).state, 'no-answer', output);
    }
    const text = ataDisk({ 5: 1, 197: 2 });
    assert.equal(answerOf(text.replace('"value":1,', '"value":"1",')).state, 'no-answer');
    fc.assert(
      fc.property(fc.nat(text.length), fc.string(), (at, by) => {
        const { state, reading } = answerOf(text.slice(0, at) + by + text.slice(at + by.length));
        assert.equal(state === 'read', reading !== undefined);
        for (const count of Object.values(reading?.counters ?? {})) {
          assert.ok(Number.isSafeInteger(count) && count >= 0);
        }
      }),
    );
    fc.assert(fc.property(fc.json(), (output) => void answerOf(output)));
  });

  it('is that there is no smartctl, or no answer', () => {
    assert.equal(smartAnswer({ kind: 'not-installed' }, 0).state, 'not-installed');
    const answer = smartAnswer({ kind: 'no-answer', why: 'hangs' }, 0);
    assert.deepEqual([answer.state, answer.detail], ['no-answer', 'hangs']);
  });
});
