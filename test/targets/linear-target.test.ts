import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DeviceError, deviceError } from '../../src/block/device-error.ts';
import { Errno } from '../../src/block/errno.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import type { TargetContext } from '../../src/mapping/target.ts';
import { TargetError, type TargetErrorCode } from '../../src/mapping/target-error.ts';
import { linearTargetType } from '../../src/targets/linear-target.ts';

function contextOver(below: MemoryDevice | FilterDevice, lengthSectors: number): TargetContext {
  return {
    deviceName: 'mapped',
    startBytes: 0,
    lengthBytes: lengthSectors * 512,
    openDevice: () => Promise.resolve(below),
  };
}

describe('linear', () => {
  it('serves the part of the device behind its offset', async () => {
    const below = new MemoryDevice({ sizeBytes: 16 * 512 });
    const target = await linearTargetType.ctr(contextOver(below, 8), ['/dev/a', '4']);
    await target.write(new Uint8Array(512).fill(7), 512);
    assert.ok(below.bytes.subarray(5 * 512, 6 * 512).every((byte) => byte === 7));
    assert.equal(
      below.bytes.reduce((sum, byte) => sum + byte, 0),
      7 * 512,
    );
    const read = new Uint8Array(512);
    await target.read(read, 512);
    assert.equal(read[511], 7);
    await target.writeZeroes(512, 512);
    assert.equal(below.bytes[5 * 512], 0);
    await target.discard(0, 512);
    assert.deepEqual(await target.extents(0, 512), [{ length: 512, state: 'data' }]);
    await target.flush();
  });

  it('names failed bytes from its own start, and keeps what the device said', async () => {
    class Failing extends FilterDevice {
      override read(target: Uint8Array, offset: number): Promise<void> {
        return Promise.reject(deviceError('disk', 'medium', offset, target.length, Errno.ENODATA));
      }
    }
    const below = new Failing(new MemoryDevice({ sizeBytes: 16 * 512 }));
    const target = await linearTargetType.ctr(contextOver(below, 8), ['/dev/a', '4']);
    await assert.rejects(target.read(new Uint8Array(512), 1024), (error: unknown) => {
      assert.ok(error instanceof DeviceError && error.cause instanceof DeviceError);
      assert.deepEqual(error.ranges, [{ offset: 1024, length: 512, kind: 'medium', errno: Errno.ENODATA }]);
      assert.equal(error.cause.ranges[0]!.offset, 1024 + 4 * 512);
      assert.equal(error.cause.device, 'disk');
      return true;
    });
  });

  it('refuses an offset that is no number, not whole blocks, or past the device', async () => {
    const below = new MemoryDevice({ sizeBytes: 16 * 512, logicalBlockBytes: 4096 });
    const cases: readonly (readonly [string, TargetErrorCode, RegExp])[] = [
      ['x', 'TARGET_ARGUMENT', /linear: OFFSET is x, expected a number/],
      ['-1', 'TARGET_ARGUMENT', /OFFSET is -1/],
      ['4', 'TARGET_ARGUMENT', /OFFSET is 4, expected a multiple of 8/],
      ['16', 'TARGET_DEVICE', /\/dev\/a has 16 sectors, the segment needs 24/],
    ];
    for (const [offset, code, message] of cases) {
      await assert.rejects(
        linearTargetType.ctr(contextOver(below, 8), ['/dev/a', offset]),
        (error: unknown) => {
          assert.ok(error instanceof TargetError);
          assert.equal(error.code, code);
          assert.match(error.message, message);
          return true;
        },
      );
    }
  });

  it('takes no messages', async () => {
    const below = new MemoryDevice({ sizeBytes: 16 * 512 });
    const target = await linearTargetType.ctr(contextOver(below, 8), ['/dev/a', '0']);
    await assert.rejects(target.message(['help']), /linear: unknown message help, it takes no messages/);
  });
});
