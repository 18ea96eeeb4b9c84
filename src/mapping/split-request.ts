import { asDeviceError, DeviceError, type FailedRange } from '../block/device-error.ts';

/** The same failure, with ranges `shiftBytes` further, as `device` sees it. */
export function shiftedError(device: string, error: unknown, shiftBytes: number): DeviceError {
  const below = asDeviceError(error);
  const ranges = below.ranges.map((range) => ({ ...range, offset: range.offset + shiftBytes }));
  return new DeviceError(device, ranges, { cause: below });
}

/**
 * Resolves when every part of a request has, or rejects naming the failed ranges of all parts. Waits for every one of
 * them in any case: until then the buffer is lent.
 */
export async function settleParts(device: string, parts: readonly Promise<void>[]): Promise<void> {
  const ranges: FailedRange[] = [];
  let cause: DeviceError | undefined;
  for (const result of await Promise.allSettled(parts)) {
    if (result.status === 'fulfilled') continue;
    const error = asDeviceError(result.reason);
    cause ??= error;
    ranges.push(...error.ranges);
  }
  if (cause !== undefined) throw new DeviceError(device, mergedRanges(ranges), { cause });
}

/** Ascending, with touching ranges of one error joined. */
export function mergedRanges(ranges: readonly FailedRange[]): FailedRange[] {
  const merged: FailedRange[] = [];
  for (const range of ranges.toSorted((left, right) => left.offset - right.offset)) {
    const last = merged.at(-1);
    const touches = last !== undefined && last.offset + last.length === range.offset;
    if (touches && last.kind === range.kind && last.errno === range.errno) {
      merged[merged.length - 1] = { ...last, length: last.length + range.length };
    } else {
      merged.push(range);
    }
  }
  return merged;
}
