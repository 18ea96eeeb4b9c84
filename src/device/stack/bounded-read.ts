import type { BlockDevice } from '../../block/block-device.ts';
import type { Clock } from '../../block/clock.ts';
import { type DeviceError, deviceError } from '../../block/device-error.ts';

/** Reads `length` bytes at `offset`. Rejects with a `DeviceError`. */
export type ReadAt = (offset: number, length: number) => Promise<Uint8Array>;

/** Reads until the deadline, then fails at once. A read that hangs keeps its memory, and nobody waits for it. */
export function boundedReader(device: BlockDevice, clock: Clock, deadlineMs: number): ReadAt {
  const endMs = clock.nowMs() + deadlineMs;
  const late = (offset: number, length: number): DeviceError =>
    deviceError(device.name, 'timed-out', offset, length);
  return (offset, length) => {
    const leftMs = endMs - clock.nowMs();
    if (leftMs <= 0) return Promise.reject(late(offset, length));
    return new Promise((resolve, reject) => {
      const bytes = new Uint8Array(length);
      const timer = clock.schedule(leftMs, () => reject(late(offset, length)));
      device.read(bytes, offset).then(
        () => {
          timer.cancel();
          resolve(bytes);
        },
        (error: unknown) => {
          timer.cancel();
          reject(error);
        },
      );
    });
  };
}
