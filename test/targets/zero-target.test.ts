import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { createMappedDevice } from '../../src/mapping/create-mapped-device.ts';
import { standardRegistry } from '../fixtures/standard-registry.ts';

describe('zero', () => {
  it('reads as zeros, forgets writes, discards and zeros, and touches nothing beside it', async () => {
    const memory = new MemoryDevice({ sizeBytes: 8 * 512 });
    memory.bytes.fill(7);
    const device = await createMappedDevice({
      name: 'mapped',
      table: '0 4 linear /dev/a 0\n4 8 zero\n12 4 linear /dev/a 4',
      registry: standardRegistry(),
      openDevice: () => Promise.resolve(memory),
    });
    const source = new Uint8Array(16 * 512).fill(3);
    await device.write(source, 0);
    await device.discard(4 * 512, 512);
    await device.writeZeroes(5 * 512, 512);
    await device.flush();
    const target = new Uint8Array(16 * 512).fill(9);
    await device.read(target, 0);
    target.forEach((byte, at) => {
      const isZero = at >= 4 * 512 && at < 12 * 512;
      assert.equal(byte, isZero ? 0 : 3, `byte ${at}`);
    });
    assert.ok(memory.bytes.every((byte) => byte === 3));
    assert.deepEqual(await device.extents(4 * 512, 512), [{ length: 512, state: 'zero' }]);
    assert.deepEqual(device.status('table'), ['0 4 linear /dev/a 0', '4 8 zero', '12 4 linear /dev/a 4']);
    assert.equal(device.status('info')[1], '4 8 zero');
    await assert.rejects(device.message(4, ['x']), /zero: unknown message x, it takes no messages/);
    await device.close();
  });

  it('takes no arguments, as the kernel', async () => {
    const made = createMappedDevice({
      name: 'mapped',
      table: '0 8 zero 1',
      registry: standardRegistry(),
      openDevice: () => assert.fail('it needs no device'),
    });
    await assert.rejects(made, /table line 1: 1 arguments, expected zero$/);
  });
});
