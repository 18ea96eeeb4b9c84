import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DeviceError, deviceError, type FailedRange } from '../../src/block/device-error.ts';
import { Errno } from '../../src/block/errno.ts';
import { mergedRanges, settleParts, shiftedError } from '../../src/mapping/split-request.ts';

function range(offset: number, length: number, errno: number = Errno.EIO): FailedRange {
  return { offset, length, kind: errno === Errno.EIO ? 'suspect' : 'medium', errno };
}

describe('mergedRanges', () => {
  it('sorts, and joins what touches and has one error', () => {
    assert.deepEqual(mergedRanges([range(4, 2), range(0, 2), range(2, 2), range(8, 1)]), [
      range(0, 6),
      range(8, 1),
    ]);
    const different = [range(0, 2), range(2, 2, Errno.ENODATA), range(4, 2)];
    assert.deepEqual(mergedRanges(different), different);
    assert.deepEqual(mergedRanges([]), []);
  });

  it('leaves the ranges that it was given as they are', () => {
    const given = [range(2, 2), range(0, 2)];
    mergedRanges(given);
    assert.deepEqual(given, [range(2, 2), range(0, 2)]);
  });
});

describe('settleParts', () => {
  it('resolves when all parts do', async () => {
    await settleParts('device', [Promise.resolve(), Promise.resolve()]);
  });

  it('names the failed ranges of all parts, and keeps the first error as the cause', async () => {
    const parts = [4, 0].map((offset) => Promise.reject(deviceError('below', 'suspect', offset, 4)));
    await assert.rejects(settleParts('device', parts), (error: unknown) => {
      assert.ok(error instanceof DeviceError && error.cause instanceof DeviceError);
      assert.deepEqual(error.ranges, [range(0, 8)]);
      assert.equal(error.device, 'device');
      assert.equal(error.cause.ranges[0]!.offset, 4);
      return true;
    });
  });
});

describe('shiftedError', () => {
  it('moves every range, and throws on what is no DeviceError', () => {
    const below = new DeviceError('below', [range(512, 512), range(2048, 512)]);
    assert.deepEqual(shiftedError('device', below, -512).ranges, [range(0, 512), range(1536, 512)]);
    assert.throws(() => shiftedError('device', new RangeError('a bug'), 0), RangeError);
  });
});
