import { Errno, errnoName, type FailureKind } from './errno.ts';

/** A part of a request that failed. `offset` and `length` are bytes, aligned to the device's logical block. */
export interface FailedRange {
  readonly offset: number;
  readonly length: number;
  readonly kind: FailureKind;
  /** The kernel's positive error number, or the nearest one for failures found by ourselves. */
  readonly errno: number;
}

/**
 * The world went wrong: the disk, not our code. Names every failed range in ascending order; bytes of a read outside
 * the ranges are valid, blocks of a write outside them are written.
 */
export class DeviceError extends Error {
  override readonly name = 'DeviceError';
  /** Stable: `DEVICE_` and the kind of the first failed range, e.g. `DEVICE_MEDIUM`. */
  readonly code: string;
  readonly device: string;
  readonly ranges: readonly FailedRange[];

  constructor(
    device: string,
    ranges: readonly FailedRange[],
    options?: { cause?: unknown; detail?: string },
  ) {
    super(
      describe(device, ranges, options?.detail),
      options?.cause === undefined ? undefined : { cause: options.cause },
    );
    this.device = device;
    this.ranges = ranges;
    this.code = `DEVICE_${(ranges[0]?.kind ?? 'path').toUpperCase().replace('-', '_')}`;
  }

  /** Kind of the first failed range. */
  get kind(): FailureKind {
    return this.ranges[0]?.kind ?? 'path';
  }

  /** Error number of the first failed range. */
  get errno(): number {
    return this.ranges[0]?.errno ?? Errno.EIO;
  }
}

function describe(device: string, ranges: readonly FailedRange[], detail: string | undefined): string {
  const first = ranges[0];
  const what =
    first === undefined
      ? 'failed'
      : `${first.kind} error (${errnoName(first.errno)}) at byte ${first.offset}, length ${first.length}` +
        (ranges.length > 1 ? ` and ${ranges.length - 1} more ranges` : '');
  return `${device}: ${what}${detail === undefined ? '' : `: ${detail}`}`;
}

/** A `DeviceError` about one range. */
export function deviceError(
  device: string,
  kind: FailureKind,
  offset: number,
  length: number,
  errno: number = Errno.EIO,
  detail?: string,
): DeviceError {
  return new DeviceError(device, [{ offset, length, kind, errno }], detail === undefined ? {} : { detail });
}

/**
 * What of a range has failed, by the error of a request that covered it: the error's ranges cut to it, all of it when none of
 * them touches it. A failure never becomes a success.
 */
export function failedWithin(error: DeviceError, offset: number, length: number): FailedRange[] {
  const failed: FailedRange[] = [];
  for (const range of error.ranges) {
    const from = Math.max(range.offset, offset);
    const to = Math.min(range.offset + range.length, offset + length);
    if (to > from) failed.push({ ...range, offset: from, length: to - from });
  }
  if (failed.length === 0) failed.push({ offset, length, kind: error.kind, errno: error.errno });
  return failed;
}

/**
 * Narrows a caught value to the world's kind of wrong. Anything else is our bug and is thrown on, so that no `catch`
 * of the data plane turns a failed assertion into an I/O error.
 */
export function asDeviceError(error: unknown): DeviceError {
  if (error instanceof DeviceError) return error;
  throw error;
}
