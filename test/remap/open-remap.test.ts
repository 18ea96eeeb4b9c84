import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type BlockDevice, sectorBytes } from '../../src/block/block-device.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { createMappedDevice } from '../../src/mapping/create-mapped-device.ts';
import { RemapOpenError } from '../../src/remap/open-remap.ts';
import { OperationCounter } from '../../src/simulator/operation-counter.ts';
import { RecordingDevice } from '../../src/simulator/recording-device.ts';
import { describeBlockDevice } from '../block/device-contract.ts';
import { badSectorsOf, faultMap, faultTable } from '../fixtures/fault-tables.ts';
import { standardRegistry } from '../fixtures/standard-registry.ts';
import { RemapPlace, spareBytes } from './remap-place.ts';
import { patternOf } from './remap-stack.ts';

function openOverErrors(disk: MemoryDevice): Promise<BlockDevice> {
  const { table } = faultTable(
    { ...faultMap('hundred-step'), mainBytes: disk.bytes.length },
    'error',
    'disk',
  );
  return createMappedDevice({
    name: 'faulty',
    table,
    registry: standardRegistry(),
    openDevice: () => Promise.resolve(disk),
  });
}

describe('openRemapDevice', () => {
  it('I15, I16, I17 brings back every move and mark, and gives no slot twice', async () => {
    const place = new RemapPlace();
    const disk = new MemoryDevice({ name: 'disk', sizeBytes: 1 << 20 });
    const main = await openOverErrors(disk);
    await place.create(main);
    const bad = badSectorsOf(faultMap('hundred-step'));
    const [lost, ...written] = bad;
    const first = await place.open(main);
    for (const sector of written) {
      await place.clock.run(first.write(patternOf(sector, 1), sector * sectorBytes));
    }
    await assert.rejects(place.clock.run(first.read(new Uint8Array(sectorBytes), lost! * sectorBytes)));
    await place.clock.run(first.message(['remap', '600']));
    const list = await first.message(['list', 'blocks']);
    const marks = await first.message(['lost']);
    assert.equal(list.split('\n').length, written.length + 1);
    assert.equal(marks, `${lost} 1 unreadable`);
    await place.clock.run(first.close());
    assert.equal(place.arena.usedBytes, 0);

    const second = await place.open(main);
    assert.equal(await second.message(['list', 'blocks']), list);
    assert.equal(await second.message(['lost']), marks);
    for (const sector of written) {
      const bytes = new Uint8Array(sectorBytes);
      await place.clock.run(second.read(bytes, sector * sectorBytes));
      assert.deepEqual(bytes, patternOf(sector, 1));
    }
    await place.clock.run(second.message(['remap', '700', '80']));
    const slots = (await second.message(['list', 'blocks']))
      .split('\n')
      .map((line) => Math.floor(Number(line.split(' ')[2]) / 8));
    assert.equal(new Set(slots).size, slots.length, 'no slot twice');
    const status = second.status();
    assert.equal(status.slotsUsed, slots.length);
    assert.equal(status.slotsFree + status.slotsUsed, status.slotsTotal);
    await place.clock.run(second.close());
    assert.equal(place.arena.usedBytes, 0);
  });

  it('I5 asks main for nothing before the metadata is loaded, and never when it is absent or refused', async () => {
    const place = new RemapPlace();
    const counter = new OperationCounter();
    const disk = new MemoryDevice({ name: 'disk', sizeBytes: 1 << 20, physicalBlockBytes: 4096 });
    const main = new RecordingDevice(disk, counter);
    await assert.rejects(place.open(main), { name: 'MetadataError' });
    await place.create(main);
    const device = await place.open(main);
    assert.equal(main.operations.length, 0, 'opening is about the spare alone');
    await place.clock.run(device.write(patternOf(8, 8), 8 * sectorBytes));
    assert(main.operations.length > 0, 'the recorder sees what reaches main');
    await place.clock.run(device.close());
    const asked = main.operations.length;
    // Nothing of the metadata is left that could be believed.
    await place.clock.run(place.spare.write(new Uint8Array(spareBytes).fill(0x5a), 0));
    await assert.rejects(place.open(main), { name: 'MetadataError' });
    assert.equal(main.operations.length, asked);
    assert.equal(place.arena.usedBytes, 0);
  });

  it('refuses a main that is smaller or has other blocks, and a spare with blocks above a granule (R9)', async () => {
    const place = new RemapPlace();
    const main = new MemoryDevice({ sizeBytes: 1 << 20 });
    await place.create(main);
    const refused = async (wrongMain: BlockDevice, code: string, spare?: BlockDevice) =>
      await assert.rejects(
        place.open(wrongMain, spare),
        (error: unknown) =>
          error instanceof RemapOpenError && error.code === code && !error.message.includes('\n'),
      );
    await refused(new MemoryDevice({ sizeBytes: 1 << 19 }), 'REMAP_WRONG_MAIN');
    await refused(new MemoryDevice({ sizeBytes: 1 << 20, logicalBlockBytes: 4096 }), 'REMAP_WRONG_MAIN');
    const largeBlocks = new MemoryDevice({ sizeBytes: spareBytes, logicalBlockBytes: 8192 });
    await refused(main, 'REMAP_UNSUITABLE_SPARE', largeBlocks);
    // M21: a main that has grown serves the size it had.
    const grown = await place.open(new MemoryDevice({ sizeBytes: 2 << 20 }));
    assert.equal(grown.geometry.sizeBytes, 1 << 20);
    assert.equal(grown.geometry.physicalBlockBytes, 4096);
    await place.clock.run(grown.close());
  });
});

/** With moved blocks, so that the contract holds across both devices. */
describeBlockDevice('RemapDevice', async () => {
  const place = new RemapPlace();
  const main = new MemoryDevice({ sizeBytes: 1 << 20 });
  await place.create(main);
  const device = await place.open(main);
  await place.clock.run(device.message(['remap', '8', '64']));
  return {
    device,
    dispose: () => {
      assert.equal(place.arena.usedBytes, 0);
      return Promise.resolve();
    },
  };
});
