import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DeviceError } from '../../src/block/device-error.ts';
import { Errno } from '../../src/block/errno.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { createMappedDevice } from '../../src/mapping/create-mapped-device.ts';
import { OperationCounter } from '../../src/simulator/operation-counter.ts';
import { RecordingDevice } from '../../src/simulator/recording-device.ts';
import { errorTargetType } from '../../src/targets/error-target.ts';
import { standardRegistry } from '../fixtures/standard-registry.ts';

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

  it('over a device takes its block sizes and its place, and asks it for nothing', async () => {
    const below = new RecordingDevice(
      new MemoryDevice({ sizeBytes: 64 * 512, logicalBlockBytes: 1024, physicalBlockBytes: 4096 }),
      new OperationCounter(),
    );
    const make = (table: string) =>
      createMappedDevice({
        name: 'mapped',
        table,
        registry: standardRegistry(),
        openDevice: () => Promise.resolve(below),
      });
    const device = await make('0 16 error /dev/a 48');
    assert.deepEqual(device.geometry, {
      sizeBytes: 16 * 512,
      logicalBlockBytes: 1024,
      physicalBlockBytes: 4096,
    });
    assert.deepEqual(device.status('table'), ['0 16 error']);
    await assert.rejects(device.read(new Uint8Array(1024), 0));
    await device.flush();
    assert.equal(below.operations.length, 0);
    await assert.rejects(
      make('0 16 error /dev/a 50'),
      /error: \/dev\/a has 64 sectors, the segment needs 66/,
    );
  });

  it('ignores any other number of arguments, as the kernel', async () => {
    const registry = standardRegistry();
    for (const words of ['', ' 5', ' a 0 1']) {
      const openDevice = () => assert.fail('it needs no device');
      const device = await createMappedDevice({
        name: 'mapped',
        table: `0 8 error${words}`,
        registry,
        openDevice,
      });
      assert.deepEqual(device.status('table'), ['0 8 error']);
    }
  });
});
