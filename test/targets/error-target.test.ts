import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DeviceError } from '../../src/block/device-error.ts';
import { Errno } from '../../src/block/errno.ts';
import { errorTargetType } from '../../src/targets/error-target.ts';

describe('error', () => {
  it('fails every request for its exact range, and has nothing to flush', async () => {
    const target = await errorTargetType.ctr(
      {
        deviceName: 'mapped',
        startBytes: 0,
        lengthBytes: 8 * 512,
        openDevice: () => assert.fail('it needs no device'),
      },
      [],
    );
    const untouched = new Uint8Array(1024).fill(9);
    for (const request of [
      () => target.read(untouched, 512),
      () => target.write(untouched, 512),
      () => target.discard(512, 1024),
      () => target.writeZeroes(512, 1024),
    ]) {
      await assert.rejects(request, (error: unknown) => {
        assert.ok(error instanceof DeviceError);
        assert.deepEqual(error.ranges, [{ offset: 512, length: 1024, kind: 'suspect', errno: Errno.EIO }]);
        return true;
      });
    }
    assert.ok(untouched.every((byte) => byte === 9));
    await target.flush();
    assert.deepEqual(target.devices, []);
    assert.equal(target.status('info'), '');
    assert.equal(target.status('table'), '');
    assert.deepEqual(await target.extents(0, 512), [{ length: 512, state: 'data' }]);
    await assert.rejects(target.message(['enable']), /unknown message enable/);
  });
});
