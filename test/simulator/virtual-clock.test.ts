import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { delay } from '../../src/block/clock.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import {
  GenerationClock,
  SimulationDeadlock,
  SimulationLivelock,
  VirtualClock,
} from '../../src/simulator/virtual-clock.ts';

function clockOf(seed: number | string): VirtualClock {
  return new VirtualClock(new SeededRandom(seed));
}

describe('VirtualClock', () => {
  it('moves from event to event, in the order of their times', async () => {
    const clock = clockOf(1);
    const seen: [string, number][] = [];
    for (const delayMs of [5, 1, 3, 0, 2]) {
      clock.schedule(delayMs, () => seen.push([`after ${delayMs}`, clock.nowMs()]));
    }
    await clock.runUntilIdle();
    assert.deepEqual(seen, [
      ['after 0', 0],
      ['after 1', 1],
      ['after 2', 2],
      ['after 3', 3],
      ['after 5', 5],
    ]);
    assert.equal(clock.eventsRun, 5);
  });

  it('orders many random events by time', async () => {
    const random = new SeededRandom('heap');
    const clock = clockOf(3);
    const times: number[] = [];
    for (let index = 0; index < 500; index += 1) {
      clock.schedule(random.below(100), () => times.push(clock.nowMs()));
    }
    await clock.runUntilIdle();
    assert.equal(times.length, 500);
    assert.deepEqual(
      times,
      times.toSorted((left, right) => left - right),
    );
  });

  it('orders equal times by the seed: repeatable, and different for other seeds', async () => {
    const orderOf = async (seed: number) => {
      const clock = clockOf(seed);
      const order: number[] = [];
      for (let index = 0; index < 8; index += 1) clock.schedule(7, () => order.push(index));
      await clock.runUntilIdle();
      return order.join('');
    };
    assert.equal(await orderOf(1), await orderOf(1));
    const orders = new Set(await Promise.all([1, 2, 3, 4, 5].map(orderOf)));
    assert.ok(orders.size >= 4);
  });

  it('drains microtasks completely between two events of one time', async () => {
    const clock = clockOf(1);
    const trace: string[] = [];
    const deep = async (name: string) => {
      for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
      trace.push(`${name} done`);
    };
    for (const name of ['first', 'second']) {
      clock.schedule(1, () => {
        trace.push('event');
        void deep(name);
      });
    }
    await clock.runUntilIdle();
    assert.equal(trace[0], 'event');
    assert.match(trace[1]!, /done/);
    assert.equal(trace[2], 'event');
    assert.match(trace[3]!, /done/);
  });

  it('never runs a cancelled action', async () => {
    const clock = clockOf(1);
    const scheduled = clock.schedule(1, () => assert.fail('it was cancelled'));
    scheduled.cancel();
    await clock.runUntilIdle();
    assert.equal(clock.eventsRun, 0);
  });

  it('gives what the awaited promise gives, errors too', async () => {
    const clock = clockOf(1);
    assert.equal(await clock.run(delay(clock, 10).then(() => 'value')), 'value');
    assert.equal(clock.nowMs(), 10);
    await assert.rejects(
      clock.run(
        delay(clock, 1).then(() => {
          throw new Error('told');
        }),
      ),
      /told/,
    );
  });

  it('says when the awaited promise can never settle', async () => {
    const clock = clockOf(1);
    await assert.rejects(clock.run(new Promise(() => {})), (error: unknown) => {
      assert.ok(error instanceof SimulationDeadlock);
      assert.match(error.message, /deadlock at 0 ms.*pending.*nothing is scheduled/);
      return true;
    });
  });

  it('stops a system that goes on for ever', async () => {
    const clock = new VirtualClock(new SeededRandom(1), { eventsMax: 100 });
    const again = () => {
      clock.schedule(1, again);
    };
    again();
    await assert.rejects(clock.runUntilIdle(), SimulationLivelock);
  });

  it('runs for exactly the asked time, and leaves later events for later', async () => {
    const clock = clockOf(1);
    const seen: number[] = [];
    for (const delayMs of [1, 2, 3]) clock.schedule(delayMs, () => seen.push(delayMs));
    const unixMs = clock.unixMs();
    await clock.runFor(2.5);
    assert.deepEqual(seen, [1, 2]);
    assert.equal(clock.nowMs(), 2.5);
    assert.equal(clock.unixMs() - unixMs, 2);
    await clock.runUntilIdle();
    assert.equal(clock.nowMs(), 3);
  });
});

describe('GenerationClock', () => {
  it('runs nothing of a process that has ended, and everything of the next one', async () => {
    const clock = clockOf(1);
    const first = new GenerationClock(clock);
    const second = new GenerationClock(clock);
    const seen: string[] = [];
    first.schedule(1, () => seen.push('first, in time'));
    first.schedule(5, () => seen.push('first, too late'));
    second.schedule(5, () => seen.push('second'));
    await clock.runFor(2);
    first.end();
    first.schedule(1, () => seen.push('first, after its end'));
    await clock.runUntilIdle();
    assert.deepEqual(seen, ['first, in time', 'second']);
  });
});
