import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { checkLine } from '../../../src/cli/verbs/status-check.ts';
import { CheckCode, type CheckResult, checkDevices } from '../../../src/cli/watching/check-devices.ts';
import type { CheckMemory } from '../../../src/cli/watching/check-memory.ts';
import type { DeviceStatus, RemapSummary } from '../../../src/device/messages.ts';
import { exampleStatus } from '../../control/example-status.ts';

const hourMs = 3_600_000;

function device(
  moved: number,
  remap: Partial<RemapSummary> = {},
  more: Partial<DeviceStatus> = {},
): DeviceStatus {
  const healthy = { unreadableSectors: 0, goneSectors: 0, slotsRetired: 0, remappedGranules: moved };
  return { ...exampleStatus, remap: { ...exampleStatus.remap, ...healthy, ...remap }, ...more };
}

/** One checker, over time. */
class Checker {
  #memory: CheckMemory = {};
  nowUnixMs = 1_000_000;

  check(answers: readonly DeviceStatus[], acknowledge = false, names: readonly string[] = []): CheckResult {
    const choice = { nowUnixMs: this.nowUnixMs, grewForMs: 24 * hourMs, acknowledge, names };
    const result = checkDevices({ answers, silent: [] }, this.#memory, choice);
    this.#memory = JSON.parse(JSON.stringify(result.memory));
    return result;
  }

  /** The code and what is said of one device. */
  code(status: DeviceStatus, acknowledge = false): number {
    return this.check([status], acknowledge).verdicts[0]!.code;
  }
}

test('what was moved before the first check is no growth; more of it is, for a day after the last of it', () => {
  const checker = new Checker();
  assert.equal(checker.code(device(5)), CheckCode.healthy);
  checker.nowUnixMs += hourMs;
  assert.equal(checker.code(device(6)), CheckCode.grew);
  checker.nowUnixMs += 20 * hourMs;
  const { verdicts } = checker.check([device(7)]);
  assert.equal(verdicts[0]!.code, CheckCode.grew);
  assert.match(verdicts[0]!.detail, /^7 granules moved, 5 before, seen 1970-01-01T21:16:40Z$/);
  checker.nowUnixMs += 23 * hourMs;
  assert.equal(checker.code(device(7)), CheckCode.grew);
  checker.nowUnixMs += hourMs;
  assert.equal(checker.code(device(7)), CheckCode.healthy);
});

test('growth that is acknowledged is told no more, and what comes after it is', () => {
  const checker = new Checker();
  checker.code(device(1));
  assert.equal(checker.code(device(2)), CheckCode.grew);
  assert.equal(checker.code(device(2), true), CheckCode.healthy);
  assert.equal(checker.code(device(2)), CheckCode.healthy);
  assert.equal(checker.code(device(3)), CheckCode.grew);
});

test('a slot that proved bad is growth too; blocks that went home are none, and more than is left of them is again', () => {
  const checker = new Checker();
  checker.code(device(4));
  assert.equal(checker.code(device(4, { slotsRetired: 1 })), CheckCode.grew);
  checker.code(device(4, { slotsRetired: 1 }), true);
  assert.equal(checker.code(device(1, { slotsRetired: 1 })), CheckCode.healthy);
  assert.equal(checker.code(device(2, { slotsRetired: 1 })), CheckCode.grew);
});

test('lost is worse than growth, and failed worse than lost; acknowledging hides neither', () => {
  const checker = new Checker();
  checker.code(device(0));
  assert.equal(checker.code(device(1, { unreadableSectors: 8 }), true), CheckCode.lost);
  assert.equal(checker.code(device(1, { goneSectors: 1 }), true), CheckCode.lost);
  for (const state of [
    'spare-full',
    'spare-failed',
    'main-failed',
    'main-writes-failed',
    'metadata-failed',
  ]) {
    assert.equal(checker.code(device(1, { state, goneSectors: 1 }), true), CheckCode.failed, state);
  }
  assert.equal(checker.code(device(1, {}, { state: 'suspended' })), CheckCode.failed);
});

test('a device that is gone is failed until somebody says that it is known; another one of its name begins anew', () => {
  const checker = new Checker();
  checker.check([device(1), device(2, {}, { name: 'other', uuid: 'b' })]);
  const [first, second] = checker.check([device(1)]).verdicts;
  assert.deepEqual([first!.name, first!.code], ['disk', CheckCode.healthy]);
  assert.deepEqual([second!.name, second!.code], ['other', CheckCode.failed]);
  assert.equal(
    checker.check([device(1)], false, ['disk']).verdicts.length,
    1,
    'who asks for one hears of one',
  );
  assert.equal(checker.check([device(1)], true).verdicts.length, 1);
  assert.equal(checker.check([device(1)]).verdicts.length, 1);
  assert.equal(checker.code(device(9, {}, { uuid: 'c' })), CheckCode.healthy);
});

test('a checker says that something grew exactly when it is more than it was within the day', () => {
  const step = fc.record({ moved: fc.integer({ min: 0, max: 6 }), hours: fc.integer({ min: 0, max: 30 }) });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 30 }), (steps) => {
      const checker = new Checker();
      // Its own words for the rule: told is what grew, until a day has passed without more or until all of it is back.
      let last: number | undefined;
      let told: { since: number; from: number } | undefined;
      for (const { moved, hours } of steps) {
        checker.nowUnixMs += hours * hourMs;
        if (told !== undefined && checker.nowUnixMs - told.since >= 24 * hourMs) told = undefined;
        if (last !== undefined && moved > last) told = { since: checker.nowUnixMs, from: told?.from ?? last };
        if (told !== undefined && moved <= told.from) told = undefined;
        last = moved;
        assert.equal(checker.code(device(moved)), told === undefined ? CheckCode.healthy : CheckCode.grew);
      }
    }),
  );
});

test('the line is that of a plugin: word, text, a bar, figures', () => {
  const verdicts = new Checker().check([device(3, { spareUsedPercent: 7 })]).verdicts;
  assert.equal(
    checkLine(CheckCode.healthy, verdicts),
    "DM-REMAP OK - disk: 3 granules moved, nothing lost | 'disk moved'=3;;;0 'disk lost'=0;;;0 'disk spare used'=7%;80;90;0;100",
  );
  const odd = { name: "a|b'c", code: CheckCode.failed, detail: 'x|y\nz', figures: null };
  assert.equal(checkLine(CheckCode.failed, [odd]), "DM-REMAP FAILED - a/b'c: x/y z");
  assert.equal(checkLine(CheckCode.healthy, []), 'DM-REMAP OK - no device is served');
});
