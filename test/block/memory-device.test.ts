import { MemoryDevice } from '../../src/block/memory-device.ts';
import { describeBlockDevice } from './device-contract.ts';

for (const logicalBlockBytes of [512, 4096]) {
  describeBlockDevice(`MemoryDevice with blocks of ${logicalBlockBytes}`, async () => ({
    device: new MemoryDevice({ sizeBytes: 1024 * 1024, logicalBlockBytes }),
    dispose: async () => {},
  }));
}
