import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Capabilities, IoFlags } from '../../src/block/block-device.ts';
import { DeviceError } from '../../src/block/device-error.ts';
import { OperationCounter } from '../../src/simulator/operation-counter.ts';
import { RecordingDevice } from '../../src/simulator/recording-device.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { SimulatedDisk } from '../../src/simulator/simulated-disk.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';
import { type ContractSubject, describeBlockDevice } from '../block/device-contract.ts';
import { ClockDriver } from './clock-driver.ts';

interface Shape {
  readonly logicalBlockBytes: number;
  readonly writeCache: 'volatile' | 'none';
}

function simulatedSubject(shape: Shape): ContractSubject {
  const random = new SeededRandom(`contract ${shape.logicalBlockBytes} ${shape.writeCache}`);
  const clock = new VirtualClock(random.fork('clock'));
  const disk = new SimulatedDisk({ name: 'disk', sizeBytes: 1024 * 1024, clock, random, ...shape });
  const driver = new ClockDriver(clock);
  const dispose = async () => {
    assert.equal(disk.inFlightCount, 0);
    await driver.stop();
  };
  return { device: disk.open(), dispose };
}

for (const logicalBlockBytes of [512, 4096]) {
  for (const writeCache of ['volatile', 'none'] as const) {
    describeBlockDevice(`SimulatedDevice, blocks of ${logicalBlockBytes}, write cache ${writeCache}`, () =>
      Promise.resolve(simulatedSubject({ logicalBlockBytes, writeCache })),
    );
  }
}

describeBlockDevice('RecordingDevice', () => {
  const subject = simulatedSubject({ logicalBlockBytes: 512, writeCache: 'volatile' });
  return Promise.resolve({
    device: new RecordingDevice(subject.device, new OperationCounter()),
    dispose: subject.dispose,
  });
});

describe('SimulatedDevice', () => {
  it('refuses what it says that it cannot do', async () => {
    const open = (capabilities: Partial<Capabilities>) => {
      const random = new SeededRandom(1);
      const clock = new VirtualClock(random);
      return new SimulatedDisk({ name: 'disk', sizeBytes: 4096, clock, random, capabilities }).open();
    };
    const source = new Uint8Array(512);
    for (const refused of [
      open({ write: false }).write(source, 0),
      open({ fua: false }).write(source, 0, IoFlags.fua),
      open({ flush: false }).flush(),
      open({ discard: false }).discard(0, 512),
      open({ writeZeroes: false }).writeZeroes(0, 512),
      open({}).writeZeroes(0, 512, IoFlags.onlyIfFast),
    ]) {
      await assert.rejects(refused, (error: unknown) => {
        assert.ok(error instanceof DeviceError);
        assert.equal(error.kind, 'unsupported');
        return true;
      });
    }
  });

  it('R32 opens only the disk that it was again, and asks another one in its place nothing but who it is', async () => {
    const random = new SeededRandom(7);
    const clock = new VirtualClock(random);
    const newDisk = (name: string) => new SimulatedDisk({ name, sizeBytes: 4096, clock, random });
    const disk = newDisk('disk');
    const other = newDisk('other');
    const device = disk.open();
    disk.unplug();
    disk.putInItsPlace(other);
    const gone = { name: 'DeviceError', kind: 'path' };
    await assert.rejects(clock.run(device.reopen()), gone);
    await assert.rejects(clock.run(device.write(new Uint8Array(512), 0)), gone);
    await assert.rejects(clock.run(device.flush()), gone);
    const { reads, writes, flushes, discards, writeZeroes } = other.counts;
    assert.deepEqual([reads, writes, flushes, discards, writeZeroes], [1, 0, 0, 0, 0]);
    disk.plug();
    await clock.run(device.reopen());
    await clock.run(device.write(new Uint8Array(512), 0));
    assert.equal(disk.counts.writes, 1);
  });
});
