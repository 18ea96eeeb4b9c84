import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDataPlane, type DataPlane, type DataPlaneOptions } from '../../src/io/data-plane.ts';

const mebibyte = 1024 * 1024;

/** A small data plane and a directory for one test. */
export interface DataPlaneFixture {
  readonly plane: DataPlane;
  readonly directory: string;
  /** Closes the plane and removes the directory. */
  readonly dispose: () => Promise<void>;
}

/** `parent` is the directory to work under: the system's temporary one by default. */
export async function dataPlaneFixture(
  options: DataPlaneOptions = {},
  parent: string = tmpdir(),
): Promise<DataPlaneFixture> {
  const directory = await mkdtemp(join(parent, 'dm-remap-test-'));
  const plane = createDataPlane({
    arenaBytes: 8 * mebibyte,
    remapBytes: mebibyte,
    metadataBytes: mebibyte,
    ...options,
  });
  return {
    plane,
    directory,
    dispose: async () => {
      await plane.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
