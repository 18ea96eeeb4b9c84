import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AssertionFailure } from '../../src/block/assert.ts';
import { asDeviceError, DeviceError, deviceError } from '../../src/block/device-error.ts';
import { Errno } from '../../src/block/errno.ts';

describe('a device error', () => {
  it('is one line that names kind, errno, place and length', () => {
    const error = deviceError('/dev/sdx', 'medium', 4096, 512, Errno.ENODATA);
    assert.equal(error.code, 'DEVICE_MEDIUM');
    assert.equal(error.kind, 'medium');
    assert.equal(error.errno, Errno.ENODATA);
    assert.match(error.message, /^\/dev\/sdx: medium error \(ENODATA\) at byte 4096, length 512$/);
  });

  it('has a stable code for kinds of two words', () => {
    assert.equal(deviceError('d', 'no-space', 0, 512).code, 'DEVICE_NO_SPACE');
    assert.equal(deviceError('d', 'timed-out', 0, 512).code, 'DEVICE_TIMED_OUT');
  });

  it('counts the ranges that it does not print', () => {
    const range = { offset: 0, length: 512, kind: 'suspect', errno: Errno.EIO } as const;
    assert.match(new DeviceError('d', [range, range, range]).message, /and 2 more ranges/);
  });

  it('is told apart from a bug, which is thrown on', () => {
    const error = deviceError('d', 'path', 0, 512);
    assert.equal(asDeviceError(error), error);
    const bug = new AssertionFailure('ours');
    assert.throws(() => asDeviceError(bug), bug);
    assert.throws(() => asDeviceError(new TypeError('ours')), TypeError);
  });
});
