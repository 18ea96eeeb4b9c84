import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { IoFlags } from '../../src/block/block-device.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { OperationCounter } from '../../src/simulator/operation-counter.ts';
import { RecordingDevice } from '../../src/simulator/recording-device.ts';

describe('RecordingDevice', () => {
  it('records every operation of several devices in one order', async () => {
    const counter = new OperationCounter();
    const main = new RecordingDevice(new MemoryDevice({ name: 'main', sizeBytes: 4096 }), counter);
    const spare = new RecordingDevice(new MemoryDevice({ name: 'spare', sizeBytes: 4096 }), counter);
    await spare.write(new Uint8Array(512), 1024, IoFlags.fua);
    await spare.flush();
    const acknowledged = main.mark();
    await main.read(new Uint8Array(1024), 0);
    await main.discard(0, 512);
    await main.writeZeroes(512, 512);
    const lines = [...main.operations, ...spare.operations]
      .toSorted((left, right) => left.sequence - right.sequence)
      .map(
        (record) =>
          `${record.sequence} ${record.device} ${record.kind} ${record.phase} ` +
          `${record.offset}+${record.length} ${record.flags} ${record.submitSequence}`,
      );
    assert.deepEqual(lines, [
      '1 spare write submit 1024+512 1 1',
      '2 spare write settle 1024+512 1 1',
      '3 spare flush submit 0+4096 0 3',
      '4 spare flush settle 0+4096 0 3',
      '6 main read submit 0+1024 0 6',
      '7 main read settle 0+1024 0 6',
      '8 main discard submit 0+512 0 8',
      '9 main discard settle 0+512 0 8',
      '10 main write-zeroes submit 512+512 0 10',
      '11 main write-zeroes settle 512+512 0 10',
    ]);
    assert.equal(acknowledged, 5);
  });

  it('notes a failure, and passes it on unchanged', async () => {
    const memory = new MemoryDevice({ sizeBytes: 4096 });
    const device = new RecordingDevice(memory, new OperationCounter());
    await assert.rejects(device.read(new Uint8Array(512), 4096), /leave the device/);
    assert.deepEqual(
      device.operations.map((record) => [record.phase, record.ok]),
      [
        ['submit', true],
        ['settle', false],
      ],
    );
  });
});
