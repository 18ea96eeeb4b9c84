import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { DeviceError } from '../../src/block/device-error.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { WornDevice } from './worn-device.ts';

const sectorBytes = 512;

let below: MemoryDevice;
let device: WornDevice;

beforeEach(() => {
  below = new MemoryDevice({ sizeBytes: 64 * sectorBytes });
  device = new WornDevice(below);
  device.wearOut([10], 'writes');
  device.wearOut([20], 'everything');
});

describe('a worn device', () => {
  it('fails the writes of worn sectors, each time, and has stored what came before them', async () => {
    const bytes = new Uint8Array(4 * sectorBytes).fill(7);
    for (let attempt = 0; attempt < 2; attempt += 1) {
      await assert.rejects(device.write(bytes, 8 * sectorBytes), DeviceError);
    }
    const stored = below.bytes.subarray(8 * sectorBytes, 12 * sectorBytes);
    assert.deepEqual(
      [0, 1, 2, 3].map((sector) => stored[sector * sectorBytes]),
      [7, 7, 0, 0],
    );
    assert.deepEqual([...device.failedWrites], [10]);
    await device.write(bytes, 11 * sectorBytes);
    await assert.rejects(device.writeZeroes(20 * sectorBytes, sectorBytes), DeviceError);
    assert.deepEqual([...device.failedRewrites], [20], 'zeros over zeros');
  });

  it('reads what wore out for writes alone, and fails reads of the others', async () => {
    below.bytes.fill(5);
    const bytes = new Uint8Array(sectorBytes);
    await device.read(bytes, 10 * sectorBytes);
    assert.equal(bytes[0], 5);
    await assert.rejects(device.read(bytes, 20 * sectorBytes), DeviceError);
    assert.deepEqual([...device.failedReads], [20]);
  });

  it('tells a write of what is there already from others', async () => {
    await assert.rejects(device.write(new Uint8Array(sectorBytes), 10 * sectorBytes), DeviceError);
    assert.deepEqual([[...device.failedWrites], [...device.failedRewrites]], [[], [10]]);
    await assert.rejects(device.write(new Uint8Array(sectorBytes).fill(1), 10 * sectorBytes), DeviceError);
    assert.deepEqual([[...device.failedWrites], [...device.failedRewrites]], [[10], [10]]);
  });
});
