import { asDeviceError, type DeviceError, deviceError } from '../../block/device-error.ts';
import { Errno } from '../../block/errno.ts';
import type { RemapCore } from '../remap-core.ts';

/** Flushes of the virtual device: both disks, and what somebody still has to hear about earlier ones (R6, R7). */
export class DeviceFlush {
  readonly #core: RemapCore;
  readonly #name: string;
  readonly #sizeBytes: number;
  #reportedEpoch: number;

  constructor(core: RemapCore, name: string, sizeBytes: number) {
    this.#core = core;
    this.#name = name;
    this.#sizeBytes = sizeBytes;
    this.#reportedEpoch = this.epoch;
  }

  /** As `BlockDevice.flushEpoch`. */
  get epoch(): number {
    return this.#core.mainFlush.failures + this.#core.spareEpoch;
  }

  /** All are asked even when one fails: what can be made durable, is. */
  async both(): Promise<void> {
    const results = await Promise.allSettled([this.#core.flushMain(), this.#core.flushSpares()]);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /** For a client: also fails, once, when an earlier flush failed behind its back (R7). */
  async forClient(): Promise<void> {
    let failure: DeviceError | undefined;
    try {
      await this.both();
    } catch (error) {
      failure = asDeviceError(error);
    }
    const inDoubt = this.epoch !== this.#reportedEpoch;
    this.#reportedEpoch = this.epoch;
    if (failure !== undefined) throw failure;
    if (!inDoubt) return;
    throw deviceError(this.#name, 'path', 0, this.#sizeBytes, Errno.EIO, 'an earlier flush failed');
  }
}
