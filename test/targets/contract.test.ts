import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { BlockDevice } from '../../src/block/block-device.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { createMappedDevice } from '../../src/mapping/create-mapped-device.ts';
import type { MappedDevice } from '../../src/mapping/mapped-device.ts';
import { TargetRegistry } from '../../src/mapping/registry.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { SimulatedDisk } from '../../src/simulator/simulated-disk.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';
import { type StandardTargetParts, standardTargets } from '../../src/targets/standard-targets.ts';
import { describeBlockDevice } from '../block/device-contract.ts';
import { standardRegistry } from '../fixtures/standard-registry.ts';
import { ClockDriver } from '../simulator/clock-driver.ts';

const sizeBytes = 1024 * 1024;

/** Each over one device of 2048 sectors. */
const tables: Readonly<Record<string, string>> = {
  'a linear segment that is the whole device': '0 2048 linear /dev/a 0',
  'a linear segment in the middle of a device': '0 1024 linear /dev/a 512',
  'many linear segments': [
    '0 8 linear /dev/a 1024',
    '8 24 linear /dev/a 0',
    '32 480 linear /dev/a 1032',
    '512 512 linear /dev/a 32',
  ].join('\n'),
  'dust with bad blocks that nobody touches': '0 1536 dust /dev/a 512 4096',
  'flakey while it is up': '0 1536 flakey /dev/a 512 4294967294 1',
  'flakey that is down and harms nobody': '0 1536 flakey /dev/a 512 0 1 5 corrupt_bio_byte 1 r 0 4096',
  'delay without a delay': '0 1536 delay /dev/a 512 0',
};

async function mapped(table: string, below: BlockDevice, parts?: StandardTargetParts): Promise<MappedDevice> {
  const registry = parts === undefined ? standardRegistry() : new TargetRegistry(standardTargets(parts));
  const openDevice = () => Promise.resolve(below);
  const device = await createMappedDevice({ name: 'mapped', table, registry, openDevice });
  if (table.includes('dust')) {
    await device.message(0, ['enable']);
    await device.message(0, ['addbadblock', '0']);
  }
  return device;
}

for (const [what, table] of Object.entries(tables)) {
  describeBlockDevice(`MappedDevice, ${what}`, async () => ({
    device: await mapped(table, new MemoryDevice({ sizeBytes })),
    dispose: () => Promise.resolve(),
  }));

  describeBlockDevice(`MappedDevice, ${what}, over a slow disk`, async () => {
    const random = new SeededRandom(what);
    const clock = new VirtualClock(random.fork('clock'));
    const shape = { logicalBlockBytes: 4096, physicalBlockBytes: 4096 };
    const disk = new SimulatedDisk({ name: 'disk', sizeBytes, clock, random, ...shape });
    const driver = new ClockDriver(clock);
    return { device: await mapped(table, disk.open(), { clock, random }), dispose: () => driver.stop() };
  });
}

describeBlockDevice('MappedDevice, delay on every request, over a slow disk', async () => {
  const random = new SeededRandom('delays');
  const clock = new VirtualClock(random.fork('clock'));
  const disk = new SimulatedDisk({ name: 'disk', sizeBytes, clock, random });
  const driver = new ClockDriver(clock);
  const table = '0 1536 delay /dev/a 512 3 /dev/a 512 40 /dev/a 512 7';
  return { device: await mapped(table, disk.open(), { clock, random }), dispose: () => driver.stop() };
});

describe('MappedDevice over a slow disk', () => {
  it('I6 has answered every request, failing ones too, when close resolves', async () => {
    for (let seed = 0; seed < 30; seed += 1) {
      const random = new SeededRandom(seed);
      const clock = new VirtualClock(random.fork('clock'));
      const disk = new SimulatedDisk({ name: 'disk', sizeBytes, clock, random });
      disk.faults.addBadSectors(1030, 1, { on: 'both' });
      const device = await mapped(tables['many linear segments']!, disk.open());
      const order: string[] = [];
      const note = (name: string, promise: Promise<void>) =>
        promise.then(
          () => order.push(name),
          () => order.push(name),
        );
      const all = [
        note('fails', device.read(new Uint8Array(512), 6 * 512)),
        note('spans', device.write(new Uint8Array(64 * 512), 0)),
        note('shifted', device.write(new Uint8Array(512), 600 * 512)),
        note('flush', device.flush()),
        note('close', device.close()),
      ];
      await clock.run(Promise.all(all));
      assert.equal(order.length, 5);
      assert.equal(order.at(-1), 'close', order.join());
    }
  });
});
