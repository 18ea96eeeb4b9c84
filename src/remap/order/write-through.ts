import { type BlockDevice, IoFlags } from '../../block/block-device.ts';
import { asDeviceError, DeviceError } from '../../block/device-error.ts';
import type { FlushGate } from './flush-gate.ts';
import { untilDrained } from './zombie-requests.ts';

/** The write is done and its flush is not: it fails, for a flush is never retried into success (R7). */
export class FlushBehindError extends DeviceError {}

/**
 * Writes, and tells the gate when a flush is due. FUA holds on a device that knows only flushes, too. Rejects with the
 * failed ranges of the write, not before the kernel is done with them (R3): a caller's ticket or lock is open until then. A
 * flush that fails behind it is a `path` failure of all of it.
 */
export async function writeThrough(
  device: BlockDevice,
  gate: FlushGate,
  source: Uint8Array,
  offset: number,
  flags: number,
): Promise<void> {
  const flushAfter = (flags & IoFlags.fua) !== 0 && !device.capabilities.fua;
  const durable = (flags & IoFlags.fua) !== 0 && device.capabilities.fua;
  try {
    // A device that cannot do FUA refuses the flag.
    await device.write(source, offset, flushAfter ? flags & ~IoFlags.fua : flags);
  } catch (error) {
    const failure = asDeviceError(error);
    // Its ranges alone: the rest of the request has been answered.
    for (const range of failure.ranges) {
      if (range.kind === 'timed-out') await untilDrained(device, range.offset, range.length);
    }
    // Blocks outside the failed ranges are written and count. A write of which nothing counts leaves nothing to flush: a
    // dead device must not fail the flushes of the other one (R6).
    if (!durable && !failedWhole(failure, offset, source.length)) {
      gate.wroteUnstable();
      // They are not sent again with the failed ones, so nobody else would flush them before the acknowledgement.
      if (flushAfter) await flushFor(device, gate, offset, source.length);
    }
    throw error;
  }
  if (!durable) gate.wroteUnstable();
  if (flushAfter) await flushFor(device, gate, offset, source.length);
}

function failedWhole(error: DeviceError, offset: number, length: number): boolean {
  let failedTo = offset;
  for (const range of error.ranges) {
    if (range.offset > failedTo) return false;
    failedTo = Math.max(failedTo, range.offset + range.length);
  }
  return failedTo >= offset + length;
}

/**
 * A failed flush is about the whole device and about no sector: as a failure of this write it is the path's. Narrowed like
 * an error of the write it would name bytes that the request does not have, and remap good sectors.
 */
async function flushFor(device: BlockDevice, gate: FlushGate, offset: number, length: number): Promise<void> {
  try {
    await gate.flush();
  } catch (error) {
    const { errno } = asDeviceError(error);
    const detail = 'the flush behind the write failed';
    throw new FlushBehindError(device.name, [{ offset, length, kind: 'path', errno }], { detail });
  }
}
