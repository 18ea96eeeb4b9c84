import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AssertionFailure } from '../../src/block/assert.ts';
import { RequestGate } from '../../src/block/request-gate.ts';

describe('the request gate', () => {
  it('I7 counts what is in flight exactly', () => {
    const gate = new RequestGate();
    assert.equal(gate.enter(), true);
    assert.equal(gate.enter(), true);
    assert.equal(gate.inFlight, 2);
    gate.leave();
    assert.equal(gate.inFlight, 1);
    gate.leave();
    assert.equal(gate.inFlight, 0);
  });

  it('treats leaving more often than entering as our own bug', () => {
    const gate = new RequestGate();
    assert.throws(() => gate.leave(), AssertionFailure);
  });

  it('I6 admits nobody once it closes, and is closed when the last one has left', async () => {
    const gate = new RequestGate();
    gate.enter();
    gate.enter();
    let drained = false;
    const closing = gate.close().then(() => {
      drained = true;
    });
    assert.equal(gate.closed, true);
    assert.equal(gate.enter(), false);
    gate.leave();
    await Promise.resolve();
    assert.equal(drained, false);
    gate.leave();
    await closing;
    assert.equal(gate.inFlight, 0);
  });

  it('closes at once when nothing is in flight, and as often as asked', async () => {
    const gate = new RequestGate();
    await Promise.all([gate.close(), gate.close()]);
    await gate.close();
    assert.equal(gate.enter(), false);
  });
});

describe('the request gate, suspended', () => {
  it('R30 admits nobody until it is resumed, and then whom it held, in order', async () => {
    const gate = new RequestGate();
    gate.enter();
    gate.suspend();
    assert.equal(gate.suspended, true);
    assert.equal(gate.enter(), false);
    const order: number[] = [];
    const held = [0, 1, 2].map((index) => gate.reopened().then(() => order.push(index)));
    assert.equal(gate.held, 3);
    gate.leave();
    await gate.idle();
    assert.deepEqual(order, []);
    gate.resume();
    await Promise.all(held);
    assert.deepEqual(order, [0, 1, 2]);
    assert.equal(gate.held, 0);
    assert.equal(gate.enter(), true);
    assert.equal(await gate.reopened(), true);
  });

  it('R30 tells whom it held when it closes for good, and is never resumed then', async () => {
    const gate = new RequestGate();
    gate.suspend();
    const held = gate.reopened();
    await gate.close();
    assert.equal(await held, false);
    gate.resume();
    gate.suspend();
    assert.equal(gate.closed, true);
    assert.equal(gate.suspended, false);
    assert.equal(gate.enter(), false);
    assert.equal(await gate.reopened(), false);
  });
});
