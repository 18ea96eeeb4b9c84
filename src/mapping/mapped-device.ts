import { assert } from '../block/assert.ts';
import {
  type BlockDevice,
  type Capabilities,
  type Extent,
  type Geometry,
  rejectInvalid,
  sectorBytes,
} from '../block/block-device.ts';
import { asDeviceError, DeviceError, deviceError } from '../block/device-error.ts';
import { Errno } from '../block/errno.ts';
import { RequestGate } from '../block/request-gate.ts';
import { sharedCapabilities } from './shared-capabilities.ts';
import { settleParts, shiftedError } from './split-request.ts';
import { formatSegment, type TableSegment } from './table-syntax.ts';
import type { StatusKind, Target } from './target.ts';
import { TargetError } from './target-error.ts';

/** A table line and the target it made. */
export interface MappedSegment {
  readonly line: TableSegment;
  readonly target: Target;
}

type Part = (target: Target, targetOffset: number, length: number, requestOffset: number) => Promise<void>;

/**
 * A device made of segments. A request inside one segment goes straight to its target, whose promise is returned; one
 * that spans several becomes a sub-request each, and the request itself is never changed (I9).
 *
 *     request            |-------------------|
 *     segments     | linear    | error |  linear      |
 *     sub-requests       |-----|-------|-----|
 */
export class MappedDevice implements BlockDevice {
  readonly name: string;
  readonly geometry: Geometry;
  readonly capabilities: Capabilities;
  readonly #segments: readonly MappedSegment[];
  /** First byte of each segment, and the end of the last one. */
  readonly #bounds: Float64Array;
  /** What a flush goes to: every distinct device once, and every target that flushes in its own way. */
  readonly #flushed: readonly Pick<BlockDevice, 'flush'>[];
  /** What this device closes, each once. */
  readonly #devices: readonly BlockDevice[];
  /** Requests whose answer is made here; those that are passed straight through are counted where they wait. */
  readonly #gate = new RequestGate();
  #closed: Promise<void> | undefined;
  /** R32: of every device below that knows it; there where one does. */
  readonly reopen?: () => Promise<void>;
  /** R3: of every device below that gives up on writes; there where one does. */
  readonly drained?: (offset: number, length: number) => Promise<void>;

  /** Use `createMappedDevice`. Throws `TargetError` when the segments do not fit each other's blocks. */
  constructor(name: string, segments: readonly MappedSegment[], devices: readonly BlockDevice[]) {
    assert(segments.length > 0, 'MappedDevice: at least one segment');
    this.name = name;
    this.#segments = segments;
    this.#devices = devices;
    this.#flushed = flushedBy(segments);
    this.#bounds = boundsOf(segments);
    this.geometry = geometryOf(segments);
    if (devices.some((device) => device.reopen !== undefined)) this.reopen = () => this.#reopen();
    if (devices.some((device) => device.drained !== undefined)) this.drained = () => this.#drained();
    this.capabilities = sharedCapabilities(segments.map(({ target }) => target.capabilities));
  }

  read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    const refusal = this.#refusal(offset, target.length);
    if (refusal !== undefined) return refusal;
    const index = this.#segmentAt(offset);
    const start = this.#bounds[index]!;
    if (offset + target.length > this.#bounds[index + 1]!) {
      return this.#split(index, offset, target.length, (part, targetOffset, length, at) =>
        part.read(target.subarray(at, at + length), targetOffset, flags),
      );
    }
    const done = this.#segments[index]!.target.read(target, offset - start, flags);
    return start === 0 ? done : this.#shifted(done, start);
  }

  write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
    const refusal = this.#refusal(offset, source.length);
    if (refusal !== undefined) return refusal;
    const index = this.#segmentAt(offset);
    const start = this.#bounds[index]!;
    if (offset + source.length > this.#bounds[index + 1]!) {
      return this.#split(index, offset, source.length, (part, targetOffset, length, at) =>
        part.write(source.subarray(at, at + length), targetOffset, flags),
      );
    }
    const done = this.#segments[index]!.target.write(source, offset - start, flags);
    return start === 0 ? done : this.#shifted(done, start);
  }

  async flush(): Promise<void> {
    if (!this.#gate.enter()) return this.#rejectClosed(0, this.geometry.sizeBytes);
    try {
      this.#throwFailed(await Promise.allSettled(this.#flushed.map((below) => below.flush())));
    } finally {
      this.#gate.leave();
    }
  }

  discard(offset: number, length: number, flags?: number): Promise<void> {
    return this.#ranged(offset, length, (part, targetOffset, partLength) =>
      part.discard(targetOffset, partLength, flags),
    );
  }

  writeZeroes(offset: number, length: number, flags?: number): Promise<void> {
    return this.#ranged(offset, length, (part, targetOffset, partLength) =>
      part.writeZeroes(targetOffset, partLength, flags),
    );
  }

  /** Of the first segment that the range touches. */
  extents(offset: number, length: number): Promise<readonly Extent[]> {
    const refusal = this.#refusal(offset, length);
    if (refusal !== undefined) return refusal;
    const index = this.#segmentAt(offset);
    const inSegment = Math.min(length, this.#bounds[index + 1]! - offset);
    return this.#segments[index]!.target.extents(offset - this.#bounds[index]!, inSegment);
  }

  /** Sends a message to the target at this sector and gives its reply. Rejects with `TargetError`. */
  message(sector: number, words: readonly string[]): Promise<string> {
    const offset = sector * sectorBytes;
    const sectorCount = this.geometry.sizeBytes / sectorBytes;
    if (!Number.isSafeInteger(sector) || sector < 0 || sector >= sectorCount) {
      const detail = `sector ${sector} is outside the device of ${sectorCount} sectors`;
      return Promise.reject(new TargetError('MESSAGE_SECTOR', `message: ${detail}`));
    }
    if (words.length === 0) {
      return Promise.reject(new TargetError('MESSAGE_ARGUMENT', 'message: it is empty, expected a word'));
    }
    return this.#segments[this.#segmentAt(offset)]!.target.message(words);
  }

  /** A line a segment, `START LENGTH TARGET …`, as `dmsetup status` and `dmsetup table` print it. */
  status(kind: StatusKind): string[] {
    return this.#segments.map(({ line, target }) => {
      const place = `${line.startSector} ${line.sectorCount} ${line.target}`;
      return `${place} ${target.status(kind)}`.trimEnd();
    });
  }

  async #reopen(): Promise<void> {
    const reopened: Promise<void>[] = [];
    for (const device of this.#devices) {
      if (device.reopen !== undefined) reopened.push(device.reopen());
    }
    this.#throwFailed(await Promise.allSettled(reopened));
  }

  /** Only the targets know where below a range is: all that is late on those devices is waited for. */
  async #drained(): Promise<void> {
    const late = this.#devices.filter((device) => device.drained !== undefined);
    await Promise.all(late.map(async (device) => device.drained?.(0, device.geometry.sizeBytes)));
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const idle = this.#gate.close();
    for (const { target } of this.#segments) target.presuspend?.();
    await idle;
    for (const { target } of this.#segments) await target.dtr?.();
    await Promise.all(this.#devices.map((device) => device.close()));
  }

  #refusal(offset: number, length: number): Promise<never> | undefined {
    return this.#gate.closed ? this.#rejectClosed(offset, length) : rejectInvalid(this, offset, length);
  }

  #rejectClosed(offset: number, length: number): Promise<never> {
    return Promise.reject(deviceError(this.name, 'closed', offset, length, Errno.ESHUTDOWN));
  }

  /** Index of the segment that holds the byte. */
  #segmentAt(offset: number): number {
    let low = 0;
    let high = this.#segments.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#bounds[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #ranged(offset: number, length: number, part: Part): Promise<void> {
    const refusal = this.#refusal(offset, length);
    if (refusal !== undefined) return refusal;
    const index = this.#segmentAt(offset);
    const start = this.#bounds[index]!;
    if (offset + length > this.#bounds[index + 1]!) return this.#split(index, offset, length, part);
    const done = part(this.#segments[index]!.target, offset - start, length, 0);
    return start === 0 ? done : this.#shifted(done, start);
  }

  /**
   * A failure names the mapped device's bytes, not the segment's. The answer comes a turn later than the segment's, so
   * the gate counts it: else `close` could resolve in between.
   */
  #shifted(done: Promise<void>, shiftBytes: number): Promise<void> {
    this.#gate.enter();
    return done.then(
      () => this.#gate.leave(),
      (error: unknown) => {
        this.#gate.leave();
        throw shiftedError(this.name, error, shiftBytes);
      },
    );
  }

  async #split(firstIndex: number, offset: number, length: number, part: Part): Promise<void> {
    this.#gate.enter();
    try {
      const parts: Promise<void>[] = [];
      const end = offset + length;
      let at = offset;
      for (let index = firstIndex; at < end; index += 1) {
        const start = this.#bounds[index]!;
        const partEnd = Math.min(end, this.#bounds[index + 1]!);
        const done = part(this.#segments[index]!.target, at - start, partEnd - at, at - offset);
        parts.push(this.#shifted(done, start));
        at = partEnd;
      }
      await settleParts(this.name, parts);
    } finally {
      this.#gate.leave();
    }
  }

  /** A failed flush leaves the whole device in doubt, a device that is not opened again takes it away. */
  #throwFailed(results: readonly PromiseSettledResult<unknown>[]): void {
    const failed = results.filter((result) => result.status === 'rejected');
    const errors = failed.map((result) => asDeviceError(result.reason));
    const [cause] = errors;
    if (cause === undefined) return;
    const { kind, errno } = cause;
    const range = { offset: 0, length: this.geometry.sizeBytes, kind, errno };
    throw new DeviceError(this.name, [range], { cause, detail: cause.message });
  }
}

function flushedBy(segments: readonly MappedSegment[]): Pick<BlockDevice, 'flush'>[] {
  const flushed = new Set<Pick<BlockDevice, 'flush'>>();
  for (const { target } of segments) {
    if (!target.flushBypassesMap) flushed.add(target);
    else for (const device of target.devices) flushed.add(device);
  }
  return [...flushed];
}

function boundsOf(segments: readonly MappedSegment[]): Float64Array {
  const bounds = new Float64Array(segments.length + 1);
  segments.forEach(({ line }, index) => {
    assert(line.startSector * sectorBytes === bounds[index], 'MappedDevice: segments touch each other');
    bounds[index + 1] = (line.startSector + line.sectorCount) * sectorBytes;
  });
  return bounds;
}

/** The largest blocks of all segments; each segment must be whole blocks. */
function geometryOf(segments: readonly MappedSegment[]): Geometry {
  let logicalBlockBytes = sectorBytes;
  let physicalBlockBytes = sectorBytes;
  for (const { target } of segments) {
    logicalBlockBytes = Math.max(logicalBlockBytes, target.logicalBlockBytes);
    physicalBlockBytes = Math.max(physicalBlockBytes, target.physicalBlockBytes);
  }
  const blockSectors = logicalBlockBytes / sectorBytes;
  for (const { line } of segments) {
    if (line.startSector % blockSectors === 0 && line.sectorCount % blockSectors === 0) continue;
    throw new TargetError(
      'TABLE_ALIGNMENT',
      `table: segment ${formatSegment(line)} is not whole logical blocks of ${logicalBlockBytes} bytes, ` +
        `expected START and LENGTH to be multiples of ${blockSectors}`,
    );
  }
  const last = segments.at(-1)!.line;
  const sizeBytes = (last.startSector + last.sectorCount) * sectorBytes;
  return { sizeBytes, logicalBlockBytes, physicalBlockBytes };
}
