import { FilterDevice } from '../../src/block/filter-device.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { describeBlockDevice } from './device-contract.ts';

describeBlockDevice('a filter that changes nothing', async () => ({
  device: new FilterDevice(new FilterDevice(new MemoryDevice({ sizeBytes: 1024 * 1024 }))),
  dispose: async () => {},
}));
