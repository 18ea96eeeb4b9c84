import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { GranuleLocks } from '../../../src/remap/order/granule-locks.ts';
import { InFlight } from '../../../src/remap/order/in-flight.ts';
import { SeededRandom } from '../../../src/simulator/seeded-random.ts';

/** Lets every microtask run. */
function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function watch(promise: Promise<unknown>): { done: boolean } {
  const state = { done: false };
  void promise.then(() => {
    state.done = true;
  });
  return state;
}

describe('GranuleLocks', () => {
  it('R1 a lock waits for the I/O issued earlier to its granules, and for no other', async () => {
    const inFlight = new InFlight();
    const locks = new GranuleLocks(inFlight);
    const overlapping = inFlight.begin(3, 5);
    const elsewhere = inFlight.begin(6, 9);
    const taking = locks.acquire(5, 5);
    const taken = watch(taking);
    assert(locks.blocked(5, 5) && !locks.idle, 'new requests wait from the moment of asking');
    assert(!locks.blocked(3, 4) && !locks.blocked(6, 6), 'I28 healthy neighbours wait for nothing');
    await settled();
    assert(!taken.done);
    inFlight.end(overlapping);
    await settled();
    assert(taken.done, 'a later I/O elsewhere is not waited for');
    locks.release(await taking);
    inFlight.end(elsewhere);
    assert(locks.idle);
    assert.equal(inFlight.count, 0);
  });

  it('R1 a later request waits for the release, and then finds the way free', async () => {
    const locks = new GranuleLocks(new InFlight());
    const lock = await locks.acquire(7, 8);
    const waiting = watch(locks.whenUnblocked(8, 20));
    await settled();
    assert(!waiting.done);
    await locks.whenUnblocked(9, 20);
    locks.release(lock);
    await settled();
    assert(waiting.done && !locks.blocked(8, 20));
  });

  it('I/O that begins after the lock was asked for does not delay it', async () => {
    const inFlight = new InFlight();
    const locks = new GranuleLocks(inFlight);
    const first = inFlight.begin(1, 1);
    const taken = watch(locks.acquire(1, 1));
    // Only a holder's own I/O may begin now, as here; its ticket may reuse the number of one that ended.
    inFlight.end(first);
    const later = inFlight.begin(1, 1);
    await settled();
    assert(taken.done);
    inFlight.end(later);
  });

  it('many moves and requests on few granules exclude each other and all end', async () => {
    const random = new SeededRandom('locks');
    const inFlight = new InFlight();
    const locks = new GranuleLocks(inFlight);
    /** Who is inside each granule: moves exclusive, requests shared. */
    const moves = new Map<number, number>();
    const requests = new Map<number, number>();
    const bump = (map: Map<number, number>, first: number, last: number, by: number) => {
      for (let granule = first; granule <= last; granule += 1) map.set(granule, (map.get(granule) ?? 0) + by);
    };
    const total = (map: Map<number, number>, first: number, last: number) => {
      let sum = 0;
      for (let granule = first; granule <= last; granule += 1) sum += map.get(granule) ?? 0;
      return sum;
    };
    const pause = async () => {
      for (let turns = random.below(4); turns > 0; turns -= 1) await settled();
    };
    let ended = 0;
    const move = async (first: number, last: number) => {
      const lock = await locks.acquire(first, last);
      assert.equal(total(moves, first, last), 0, 'one move at a time');
      assert.equal(total(requests, first, last), 0, 'no request inside a move');
      bump(moves, first, last, 1);
      await pause();
      bump(moves, first, last, -1);
      locks.release(lock);
      ended += 1;
    };
    const request = async (first: number, last: number) => {
      await pause();
      while (locks.blocked(first, last)) await locks.whenUnblocked(first, last);
      const ticket = inFlight.begin(first, last);
      bump(requests, first, last, 1);
      await pause();
      assert.equal(total(moves, first, last), 0, 'no move over a request');
      bump(requests, first, last, -1);
      inFlight.end(ticket);
      ended += 1;
    };
    const all: Promise<void>[] = [];
    for (let index = 0; index < 600; index += 1) {
      const first = random.below(6);
      const last = first + random.below(3);
      all.push(random.chance(0.4) ? move(first, last) : request(first, last));
    }
    await Promise.all(all);
    assert.equal(ended, 600);
    assert(locks.idle);
    assert.equal(inFlight.count, 0);
  });

  it('a lock released twice and a ticket ended twice are our bugs', async () => {
    const inFlight = new InFlight();
    const locks = new GranuleLocks(inFlight);
    const lock = await locks.acquire(0, 0);
    locks.release(lock);
    assert.throws(() => locks.release(lock), /not held/);
    const ticket = inFlight.begin(0, 0);
    inFlight.end(ticket);
    assert.throws(() => inFlight.end(ticket), /ended twice/);
  });
});
