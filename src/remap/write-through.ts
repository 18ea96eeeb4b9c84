import { type BlockDevice, IoFlags } from '../block/block-device.ts';
import { asDeviceError, type DeviceError, deviceError } from '../block/device-error.ts';
import type { FlushGate } from './flush-gate.ts';

/**
 * Writes, and tells the gate when a flush is due. FUA holds on a device that knows only flushes, too. Rejects with the
 * failed ranges of the write; a flush that fails behind it is a `path` failure of all of it.
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
    // Blocks outside the failed ranges are written and count. A write of which nothing counts leaves nothing to flush: a
    // dead device must not fail the flushes of the other one (R6).
    if (!durable && !failedWhole(asDeviceError(error), offset, source.length)) gate.wroteUnstable();
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
    throw deviceError(device.name, 'path', offset, length, errno, 'the flush behind the write failed');
  }
}
