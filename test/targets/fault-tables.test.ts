import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sectorBytes } from '../../src/block/block-device.ts';
import { DeviceError } from '../../src/block/device-error.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { createMappedDevice } from '../../src/mapping/create-mapped-device.ts';
import type { MappedDevice } from '../../src/mapping/mapped-device.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import {
  badSectorsOf,
  type FaultMap,
  faultMap,
  faultMapNames,
  faultTable,
} from '../fixtures/fault-tables.ts';
import { standardRegistry } from '../fixtures/standard-registry.ts';

const chunkBytes = 1024 * 1024;

async function faultyDevice(
  map: FaultMap,
  flavour: 'error' | 'dust',
  below: MemoryDevice,
): Promise<MappedDevice> {
  const { table, messages } = faultTable(map, flavour, '/dev/below');
  const device = await createMappedDevice({
    name: map.name,
    table,
    registry: standardRegistry(),
    openDevice: () => Promise.resolve(below),
  });
  for (const words of messages) await device.message(0, words);
  return device;
}

/** Sectors that a request fails, by what it says. */
async function failedSectors(request: Promise<void>): Promise<number[]> {
  try {
    await request;
    return [];
  } catch (error) {
    assert.ok(error instanceof DeviceError, String(error));
    return error.ranges.flatMap((range) =>
      Array.from({ length: range.length / sectorBytes }, (_, index) => range.offset / sectorBytes + index),
    );
  }
}

/** Reads the whole device in pieces; fails when a byte outside the failed sectors differs from `expected`. */
async function readAll(device: MappedDevice, expected: Uint8Array): Promise<number[]> {
  const failed: number[] = [];
  const buffer = new Uint8Array(chunkBytes);
  for (let offset = 0; offset < expected.length; offset += chunkBytes) {
    const target = buffer.subarray(0, Math.min(chunkBytes, expected.length - offset));
    const bad = await failedSectors(device.read(target, offset));
    for (const sector of bad) {
      const at = sector * sectorBytes;
      target.set(expected.subarray(at, at + sectorBytes), at - offset);
    }
    const wanted = expected.subarray(offset, offset + target.length);
    assert.equal(Buffer.compare(target, wanted), 0, `bytes differ behind ${offset}`);
    failed.push(...bad);
  }
  return failed;
}

/** A healthy device full of chance bytes. */
function filledMemory(map: FaultMap): MemoryDevice {
  const below = new MemoryDevice({ sizeBytes: map.mainBytes });
  const tile = new Uint8Array(chunkBytes - 512);
  new SeededRandom(map.name).fill(tile);
  for (let offset = 0; offset < below.bytes.length; offset += tile.length) {
    below.bytes.set(tile.subarray(0, Math.min(tile.length, below.bytes.length - offset)), offset);
  }
  return below;
}

describe('fault tables', () => {
  for (const name of faultMapNames) {
    for (const flavour of ['error', 'dust'] as const) {
      it(`I17 ${name} as ${flavour}: exactly the bad sectors fail, every other byte is right`, async () => {
        const map = faultMap(name);
        const bad = badSectorsOf(map);
        const below = filledMemory(map);
        const original = below.bytes.slice();
        const device = await faultyDevice(map, flavour, below);
        assert.equal(device.geometry.sizeBytes, map.mainBytes);
        assert.deepEqual(await readAll(device, original), bad);

        const around = Math.max(0, bad[0]! - 2) * sectorBytes;
        const source = new Uint8Array(16 * sectorBytes).fill(0x5a);
        const inside = bad.filter((sector) => {
          const at = sector * sectorBytes;
          return at >= around && at < around + source.length;
        });
        const failedWrites = await failedSectors(device.write(source, around));
        assert.deepEqual(failedWrites, flavour === 'error' ? inside : []);
        const expected = original.slice();
        expected.set(source, around);
        for (const sector of failedWrites) {
          const at = sector * sectorBytes;
          expected.set(original.subarray(at, at + sectorBytes), at);
        }
        assert.equal(Buffer.compare(below.bytes, expected), 0);
        const stillBad = flavour === 'error' ? bad : bad.filter((sector) => !inside.includes(sector));
        assert.deepEqual(await readAll(device, expected), stillBad);
        await device.close();
      });
    }
  }

  it('as dust with a write fail count fails that many writes of a bad sector', async () => {
    const map = faultMap('low-pair');
    const { messages } = faultTable(map, 'dust', '/dev/below', { writeFailCount: 3 });
    assert.deepEqual(messages, [['addbadblock', '1000', '3'], ['addbadblock', '1001', '3'], ['enable']]);
  });
});
