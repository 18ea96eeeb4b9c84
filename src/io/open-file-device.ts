import type { ArenaReserve } from '../block/buffer-arena.ts';
import { BufferedFileDevice } from './buffered-file-device.ts';
import { DirectFileDevice } from './direct-file-device.ts';
import { DiskReopener } from './disk-reopener.ts';
import type { FileDevice } from './file-device.ts';
import type { IoEngine } from './io-engine.ts';
import { closeAsync, type OpenRequest, openDescriptor } from './open-descriptor.ts';

export interface OpenFileOptions {
  readonly path: string;
  readonly engine: IoEngine;
  /** `none`: O_DIRECT, for disks and images. `writeback`: through the page cache, image files only. */
  readonly cache: 'none' | 'writeback';
  readonly readOnly?: boolean;
  /** Refuse what somebody else uses, and keep others away. True by default; false to look at a disk in use. */
  readonly lock?: boolean;
  /** Reads reject with `timed-out` after this. None by default. */
  readonly readTimeoutMs?: number;
  /** Requests in the kernel at once; 256 by default, a quarter of the engine's, so that a hung disk starves nobody. */
  readonly queueDepthMax?: number;
  /** Where memory for requests outside the arena comes from; `metadata` by default, for clients may hold all of theirs. */
  readonly bounceReserve?: ArenaReserve;
  /** The image file was cut while it was open, once; it then has so many bytes. Nothing is read or written any more. */
  readonly onCut?: (hasBytes: number) => void;
}

const queueDepthMaxDefault = 256;

/**
 * Opens an image file or a block device. Files and devices of others are refused, never touched (R27).
 *
 * @throws OpenError with one clear line and a stable code.
 */
export async function openFileDevice(options: OpenFileOptions): Promise<FileDevice> {
  const readOnly = options.readOnly ?? false;
  const request = { path: options.path, cache: options.cache, readOnly, lock: options.lock ?? true };
  const descriptor = await openDescriptor(request);
  const reopener = await rememberDisk(request, descriptor.fd);
  const deviceOptions = {
    name: options.path,
    engine: options.engine,
    descriptor,
    readOnly,
    readTimeoutMs: options.readTimeoutMs,
    queueDepthMax: options.queueDepthMax ?? queueDepthMaxDefault,
    bounceReserve: options.bounceReserve ?? 'metadata',
    reopener,
    ...(options.onCut && { onCut: options.onCut }),
  };
  if (descriptor.direct) return new DirectFileDevice(deviceOptions);
  const cached = options.cache === 'writeback' ? 'writeback' : 'through';
  const mode = descriptor.inMemory ? 'memory' : cached;
  return new BufferedFileDevice({ ...deviceOptions, mode, arenaAddress: options.engine.arenaAddress });
}

/** While it is open and surely there: what it is, so that it is known again. */
async function rememberDisk(request: OpenRequest, fd: number): Promise<DiskReopener> {
  try {
    return await DiskReopener.remembering(request);
  } catch (error) {
    await closeAsync(fd);
    throw error;
  }
}
