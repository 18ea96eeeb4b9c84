import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AssertionFailure } from '../../src/block/assert.ts';
import { Ring } from '../../src/linux/ring.ts';
import { Operation } from '../../src/linux/uring-numbers.ts';

const nothing = {
  operation: Operation.nop,
  fd: -1,
  offset: 0,
  address: 0,
  length: 0,
  ioPriority: 0,
  operationFlags: 0,
  userHigh: 0,
};

describe('a ring', () => {
  it('gives each request back once, with its user data, across many turns of both queues', () => {
    const ring = new Ring({ submissionEntries: 8, completionEntries: 16 });
    let pushed = 0;
    let expected = 0;
    for (let round = 0; round < 1000; round += 1) {
      for (let count = 0; count <= round % 8; count += 1) {
        assert.ok(ring.push({ ...nothing, userLow: pushed, userHigh: 0xffff_ffff - pushed }));
        pushed += 1;
      }
      assert.equal(ring.enter(), 0);
      assert.equal(ring.unsubmitted, 0);
      ring.reap((userLow, userHigh, result) => {
        assert.equal(userLow, expected);
        assert.equal(userHigh, 0xffff_ffff - expected);
        assert.equal(result, 0);
        expected += 1;
      });
    }
    assert.equal(expected, pushed);
    assert.equal(ring.hasWork(), false);
    ring.close();
  });

  it('says that it is full instead of losing a request', () => {
    const ring = new Ring({ submissionEntries: 4, completionEntries: 8 });
    for (let count = 0; count < 4; count += 1) assert.ok(ring.push({ ...nothing, userLow: count }));
    assert.ok(ring.full);
    assert.equal(ring.push({ ...nothing, userLow: 4 }), false);
    assert.equal(ring.unsubmitted, 4);
    assert.equal(ring.enter(), 0);
    assert.ok(ring.hasWork());
    assert.equal(
      ring.reap(() => {}),
      4,
    );
    ring.close();
  });

  it('gives 64-bit fields to the kernel exactly', () => {
    const ring = new Ring({ submissionEntries: 4, completionEntries: 8 });
    // Without a descriptor the kernel answers EBADF, whatever the offset; a signed or cut word would be EINVAL.
    ring.push({
      ...nothing,
      operation: Operation.read,
      offset: 2 ** 52 + 512,
      address: 2 ** 46,
      length: 512,
      userLow: 1,
    });
    assert.equal(ring.enter(), 0);
    let result = 0;
    ring.reap((_low, _high, value) => {
      result = value;
    });
    assert.equal(result, -9);
    ring.close();
  });

  it('cannot be used after it is closed', () => {
    const ring = new Ring({ submissionEntries: 4, completionEntries: 8 });
    ring.close();
    ring.close();
    assert.throws(() => ring.enter(), AssertionFailure);
  });
});
