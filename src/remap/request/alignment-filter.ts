import {
  type BlockDevice,
  type Extent,
  type Geometry,
  IoFlags,
  rejectInvalid,
  sectorBytes,
} from '../../block/block-device.ts';
import { asDeviceError, DeviceError, deviceError, type FailedRange } from '../../block/device-error.ts';
import { Errno } from '../../block/errno.ts';
import { FilterDevice } from '../../block/filter-device.ts';
import type { ByteRange } from './request-rounds.ts';

/** Parts of blocks that are under way at once; whoever comes then waits for one of them. */
export const partsAtOnceMax = 16;

/** What the filter needs of the device below it. */
export interface PartWriter extends BlockDevice {
  /** Reads a whole block as a write of a part of it will find it: lost sectors are an error, whatever `on-lost` says (R12). */
  readPartBase(block: Uint8Array, offset: number): Promise<void>;
  /** `source` lies within one logical block. Rejects with `DeviceError`; nothing is then changed. */
  writePart(source: Uint8Array, offset: number, flags: number): Promise<void>;
}

/** A request cut at the device's blocks: what lies within one block is a part, the middle is whole blocks. */
interface CutRequest {
  readonly parts: readonly ByteRange[];
  readonly middle: ByteRange | undefined;
}

/**
 * Serves clients in sectors of 512 bytes over a device with larger blocks (R11): those that never asked for block sizes.
 * Whole blocks pass; a part is read with its block, or changed in it under the granule's lock.
 */
export class AlignmentFilter extends FilterDevice {
  readonly #device: PartWriter;
  readonly #geometry: Geometry;
  readonly #block: number;
  /** Memory of its own, not the arena's: a request that holds some there and waits for more could wait for itself (I14). */
  readonly #free: Uint8Array[];
  readonly #waiting: ((buffer: Uint8Array) => void)[] = [];

  constructor(device: PartWriter) {
    super(device);
    this.#device = device;
    this.#geometry = { ...device.geometry, logicalBlockBytes: sectorBytes };
    this.#block = device.geometry.logicalBlockBytes;
    this.#free = Array.from({ length: partsAtOnceMax }, () => new Uint8Array(this.#block));
  }

  override get geometry(): Geometry {
    return this.#geometry;
  }

  override read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    const refusal = rejectInvalid(this, offset, target.length);
    if (refusal !== undefined) return refusal;
    if (this.#isWhole(offset, target.length)) return this.below.read(target, offset, flags);
    return this.#each(offset, target.length, (range, isPart) => {
      const bytes = target.subarray(range.offset - offset, range.offset - offset + range.length);
      return isPart ? this.#readPart(bytes, range.offset) : this.below.read(bytes, range.offset, flags);
    });
  }

  override write(source: Uint8Array, offset: number, flags: number = IoFlags.none): Promise<void> {
    const refusal = rejectInvalid(this, offset, source.length);
    if (refusal !== undefined) return refusal;
    if (this.#isWhole(offset, source.length)) return this.below.write(source, offset, flags);
    return this.#change(offset, source.length, (range, isPart) => {
      const bytes = source.subarray(range.offset - offset, range.offset - offset + range.length);
      return isPart
        ? this.#device.writePart(bytes, range.offset, flags)
        : this.below.write(bytes, range.offset, flags);
    });
  }

  /** Parts of blocks stay as they are: that is all that a discard promises (R20). */
  override discard(offset: number, length: number, flags?: number): Promise<void> {
    const refusal = rejectInvalid(this, offset, length);
    if (refusal !== undefined) return refusal;
    const { middle } = this.#cut(offset, length);
    return middle === undefined ? Promise.resolve() : this.below.discard(middle.offset, middle.length, flags);
  }

  override writeZeroes(offset: number, length: number, flags: number = IoFlags.none): Promise<void> {
    const refusal = rejectInvalid(this, offset, length);
    if (refusal !== undefined) return refusal;
    if (this.#isWhole(offset, length)) return this.below.writeZeroes(offset, length, flags);
    if ((flags & IoFlags.onlyIfFast) !== 0) {
      return Promise.reject(deviceError(this.name, 'unsupported', offset, length, Errno.EOPNOTSUPP));
    }
    return this.#change(offset, length, (range, isPart) =>
      isPart
        ? this.#device.writePart(new Uint8Array(range.length), range.offset, flags)
        : this.below.writeZeroes(range.offset, range.length, flags),
    );
  }

  override async extents(offset: number, length: number): Promise<readonly Extent[]> {
    const refusal = rejectInvalid(this, offset, length);
    if (refusal !== undefined) await refusal;
    const start = offset - (offset % this.#block);
    const end = this.#blockEnd(offset + length);
    const extents: Extent[] = [];
    let at = start;
    for (const extent of await this.below.extents(start, end - start)) {
      const from = Math.max(at, offset);
      const to = Math.min(at + extent.length, offset + length);
      if (to > from) extents.push({ ...extent, length: to - from });
      at += extent.length;
    }
    return extents;
  }

  #isWhole(offset: number, length: number): boolean {
    return offset % this.#block === 0 && length % this.#block === 0;
  }

  #blockEnd(offset: number): number {
    return Math.ceil(offset / this.#block) * this.#block;
  }

  #cut(offset: number, length: number): CutRequest {
    const end = offset + length;
    const middleStart = this.#blockEnd(offset);
    const middleEnd = end - (end % this.#block);
    if (middleStart > middleEnd) return { parts: [{ offset, length }], middle: undefined };
    const parts: ByteRange[] = [];
    if (middleStart > offset) parts.push({ offset, length: middleStart - offset });
    if (end > middleEnd) parts.push({ offset: middleEnd, length: end - middleEnd });
    const middle = { offset: middleStart, length: middleEnd - middleStart };
    return { parts, middle: middle.length === 0 ? undefined : middle };
  }

  /** All pieces, whatever becomes of the others; the error names what failed of each. */
  async #each(
    offset: number,
    length: number,
    run: (range: ByteRange, isPart: boolean) => Promise<void>,
  ): Promise<void> {
    const { parts, middle } = this.#cut(offset, length);
    const pieces = parts.map((range) => failuresOf(range, this.#block, run(range, true)));
    if (middle !== undefined) pieces.push(failuresOf(middle, this.#block, run(middle, false)));
    const failed = (await Promise.all(pieces)).flat();
    if (failed.length > 0)
      throw new DeviceError(
        this.name,
        failed.toSorted((a, b) => a.offset - b.offset),
      );
  }

  /** Parts first: a request that covers a part of a lost sector changes nothing (R11), and a part alone can find that. */
  async #change(
    offset: number,
    length: number,
    run: (range: ByteRange, isPart: boolean) => Promise<void>,
  ): Promise<void> {
    const { parts, middle } = this.#cut(offset, length);
    for (const range of parts) await this.#tryRead(range, offset, length);
    for (const range of parts) await run(range, true);
    if (middle !== undefined) await run(middle, false);
  }

  /** Also lets the device do what it does about a block that main cannot read, before a lock is held on it. */
  async #tryRead(range: ByteRange, offset: number, length: number): Promise<void> {
    const buffer = await this.#take();
    try {
      await this.#device.readPartBase(buffer, range.offset - (range.offset % this.#block));
    } catch (error) {
      const { kind, errno } = asDeviceError(error);
      throw deviceError(
        this.name,
        kind,
        offset,
        length,
        errno,
        'a block that is written in part cannot be read',
      );
    } finally {
      this.#give(buffer);
    }
  }

  async #readPart(target: Uint8Array, offset: number): Promise<void> {
    const buffer = await this.#take();
    const start = offset - (offset % this.#block);
    try {
      await this.below.read(buffer, start);
    } finally {
      // After a failure too: bytes outside the failed ranges are valid.
      target.set(buffer.subarray(offset - start, offset - start + target.length));
      this.#give(buffer);
    }
  }

  #take(): Promise<Uint8Array> {
    const buffer = this.#free.pop();
    if (buffer !== undefined) return Promise.resolve(buffer);
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  #give(buffer: Uint8Array): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(buffer);
    else next(buffer);
  }
}

/**
 * The failed ranges of one piece, cut to it: of a block that was read whole, only the part counts. An error that names
 * nothing of the piece's blocks is about all of it: a failure never becomes a success.
 */
async function failuresOf(
  range: ByteRange,
  block: number,
  done: Promise<void>,
): Promise<readonly FailedRange[]> {
  try {
    await done;
    return [];
  } catch (error) {
    const { ranges, kind, errno } = asDeviceError(error);
    const start = range.offset - (range.offset % block);
    const end = Math.ceil((range.offset + range.length) / block) * block;
    const known = ranges.some((failed) => failed.offset < end && failed.offset + failed.length > start);
    if (!known) return [{ ...range, kind, errno }];
    return ranges.flatMap((failed) => {
      const from = Math.max(failed.offset, range.offset);
      const to = Math.min(failed.offset + failed.length, range.offset + range.length);
      return to > from ? [{ ...failed, offset: from, length: to - from }] : [];
    });
  }
}
