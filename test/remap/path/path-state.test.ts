import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PathState } from '../../../src/remap/path/path-state.ts';
import { SeededRandom } from '../../../src/simulator/seeded-random.ts';
import { VirtualClock } from '../../../src/simulator/virtual-clock.ts';

/** A path over a device that works or not, as the test says; probes are counted with their time. */
function makePath(holdMs = 15_000) {
  const clock = new VirtualClock(new SeededRandom('path').fork('clock'));
  const device = { works: false, probes: [] as number[], holdMs, changes: [] as boolean[] };
  const path = new PathState({
    clock,
    holdMs: () => device.holdMs,
    probe: () => {
      device.probes.push(clock.nowMs());
      return Promise.resolve(device.works);
    },
    onChange: (failed) => device.changes.push(failed),
  });
  return { clock, device, path };
}

function watch(answer: Promise<boolean>): { works: boolean | undefined } {
  const seen: { works: boolean | undefined } = { works: undefined };
  void answer.then((works) => {
    seen.works = works;
  });
  return seen;
}

describe('PathState', () => {
  it('R17 while somebody waits it asks after 100 ms, then after twice as long, up to 2 s', async () => {
    const { clock, device, path } = makePath();
    path.noteFailed();
    const waiting = watch(path.whenWorking());
    await clock.runFor(9000);
    assert.deepEqual(device.probes, [100, 300, 700, 1500, 3100, 5100, 7100]);
    assert.equal(waiting.works, undefined);
    device.works = true;
    await clock.runFor(100);
    assert.equal(waiting.works, true);
    assert(!path.failed);
    assert.deepEqual(device.changes, [true, false]);
    await clock.runUntilIdle();
    assert.equal(device.probes.length, 8, 'I24 nothing is asked any more');
  });

  it('R17 asks nothing while nobody waits', async () => {
    const { clock, device, path } = makePath();
    path.noteFailed();
    await clock.runFor(60_000);
    assert.deepEqual(device.probes, []);
    assert(path.failed);
  });

  it('R17 holds until the window since the first failure is over, whenever one came', async () => {
    const { clock, path } = makePath(3000);
    path.noteFailed();
    const early = watch(path.whenWorking());
    await clock.runFor(2000);
    path.noteFailed();
    const late = watch(path.whenWorking());
    assert.equal(path.waiting, 2);
    await clock.runFor(999);
    assert.deepEqual([early.works, late.works], [undefined, undefined]);
    await clock.runFor(1);
    assert.deepEqual([early.works, late.works], [false, false]);
    assert.equal(path.outages, 1);
  });

  it('R17 behind the window everybody is answered at once, and one a second asks the device', async () => {
    const { clock, device, path } = makePath(3000);
    path.noteFailed();
    await clock.runFor(10_000);
    for (let turn = 0; turn < 50; turn += 1) {
      const before = clock.nowMs();
      assert.equal(await path.whenWorking(), false);
      assert.equal(clock.nowMs(), before, 'at once');
      await clock.runFor(100);
    }
    assert.deepEqual(device.probes, [10_000, 11_000, 12_000, 13_000, 14_000]);
    device.works = true;
    await clock.runFor(1000);
    assert.equal(await path.whenWorking(), true);
    assert(!path.failed);
  });

  it('R17 R32 a disk that was away and then goes has a whole window, for those who come then', async () => {
    const { clock, device, path } = makePath(3000);
    path.noteFailed();
    const early = watch(path.whenWorking());
    await clock.runFor(2900);
    path.noteGone();
    await clock.runFor(100);
    assert.equal(early.works, false, 'who waited has waited long enough');
    const late = watch(path.whenWorking());
    await clock.runFor(1000);
    assert.equal(late.works, undefined);
    device.works = true;
    await clock.runFor(1000);
    assert.equal(late.works, true);
    assert.deepEqual(device.changes, [true, false], 'one outage');
    await clock.runUntilIdle();
  });

  it('R17 R32 a window that was over begins again when the disk goes', async () => {
    const { clock, path } = makePath(3000);
    path.noteFailed();
    await clock.runFor(60_000);
    path.noteGone();
    const late = watch(path.whenWorking());
    await clock.runFor(2900);
    assert.equal(late.works, undefined);
    path.noteGone();
    await clock.runFor(200);
    assert.equal(late.works, false);
    path.noteGone();
    const later = watch(path.whenWorking());
    await clock.runFor(1);
    assert.equal(later.works, false, 'once in an outage, however often it is said');
    await clock.runUntilIdle();
  });

  it('R17 a path time-out of 0 holds nobody', async () => {
    const { clock, device, path } = makePath(0);
    path.noteFailed();
    assert.equal(await path.whenWorking(), false);
    assert.deepEqual(device.probes, [], 'the probe that failed was just now');
    await clock.runFor(1000);
    device.works = true;
    assert.equal(await path.whenWorking(), true);
  });

  it('R36 a probe that hangs keeps nobody beyond the window', async () => {
    const clock = new VirtualClock(new SeededRandom('hangs').fork('clock'));
    const hangs = new PathState({
      clock,
      holdMs: () => 2000,
      probe: () => new Promise<boolean>(() => {}),
      onChange: () => {},
    });
    hangs.noteFailed();
    const waiting = watch(hangs.whenWorking());
    await clock.runFor(2000);
    assert.equal(waiting.works, false);
    assert.equal(await hangs.whenWorking(), false, 'nor anybody who comes later');
  });

  it('a request that succeeds ends the outage for all who wait', async () => {
    const { clock, device, path } = makePath();
    path.noteFailed();
    const waiting = watch(path.whenWorking());
    path.noteWorked();
    await clock.runUntilIdle();
    assert.equal(waiting.works, true);
    assert.deepEqual(device.probes, []);
  });

  it('R16 refused: nobody is held until a probe is good, or somebody says to try again', async () => {
    const { clock, device, path } = makePath();
    path.noteFailed();
    const waiting = watch(path.whenWorking());
    path.refuse();
    await clock.runFor(0);
    assert.equal(waiting.works, false);
    assert.equal(await path.whenWorking(), false);
    device.works = true;
    assert.equal(await path.retry(), true);
    assert(!path.failed && !path.refused);
  });

  it('I6 closing answers everybody who waits, and holds nobody any more', async () => {
    const { clock, path } = makePath();
    path.noteFailed();
    const waiting = watch(path.whenWorking());
    path.close();
    await clock.runFor(0);
    assert.equal(waiting.works, false);
    assert.equal(await path.whenWorking(), false);
    assert.equal(path.waiting, 0);
  });
});
