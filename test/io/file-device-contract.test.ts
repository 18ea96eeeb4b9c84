import { statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createImage } from '../../src/io/create-image.ts';
import { type ContractSubject, describeBlockDevice } from '../block/device-contract.ts';
import { dataPlaneFixture } from './data-plane-fixture.ts';

async function fileSubject(cache: 'none' | 'writeback', parent: string): Promise<ContractSubject> {
  const { plane, directory, dispose } = await dataPlaneFixture({}, parent);
  const path = join(directory, 'image');
  await createImage(path, 1024 * 1024);
  return { device: await plane.openFile({ path, cache }), arena: plane.arena, dispose };
}

describeBlockDevice('an image file, O_DIRECT where it can be', () => fileSubject('none', tmpdir()));
describeBlockDevice('an image file in writeback mode', () => fileSubject('writeback', tmpdir()));

const memoryFileSystem = '/dev/shm';
if (statfsSync(memoryFileSystem, { bigint: false }).type === 0x01021994) {
  describeBlockDevice('an image file on tmpfs', () => fileSubject('none', memoryFileSystem));
}
