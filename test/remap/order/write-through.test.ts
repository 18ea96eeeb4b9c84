import assert from 'node:assert/strict';
import { it } from 'node:test';
import { IoFlags } from '../../../src/block/block-device.ts';
import { FlushGate } from '../../../src/remap/order/flush-gate.ts';
import { writeThrough } from '../../../src/remap/order/write-through.ts';
import { SeededRandom } from '../../../src/simulator/seeded-random.ts';
import { SimulatedDisk } from '../../../src/simulator/simulated-disk.ts';
import { VirtualClock } from '../../../src/simulator/virtual-clock.ts';

it('R22 FUA holds for the blocks beside a bad one, on a device that knows only flushes', async () => {
  const random = new SeededRandom(1);
  const clock = new VirtualClock(random.fork('clock'));
  const disk = new SimulatedDisk({
    name: 'main',
    sizeBytes: 8 * 512,
    clock,
    random,
    exactRanges: true,
    capabilities: { fua: false },
  });
  disk.faults.addBadSectors(1, 1, { on: 'write' });
  const device = disk.open();
  const source = new Uint8Array(3 * 512).fill(7);
  const written = writeThrough(device, new FlushGate(device), source, 0, IoFlags.fua);
  await assert.rejects(clock.run(written), /medium|suspect/);
  // The write of the failed block is the caller's to move; the two others are not sent again.
  const durable = disk.durableImage;
  assert.deepEqual([durable[0], durable[512], durable[1024]], [7, 0, 7]);
});
