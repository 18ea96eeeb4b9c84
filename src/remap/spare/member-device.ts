import type { BlockDevice, Capabilities, Extent, Geometry } from '../../block/block-device.ts';
import { asDeviceError, DeviceError } from '../../block/device-error.ts';

/**
 * A spare beside the home, at its place in the one row of all spares: offsets, also those in errors, count from the beginning of
 * that row. Its geometry is the disk's own.
 */
export class MemberDevice implements BlockDevice {
  /** Only where the disk has them. */
  readonly drained?: (offset: number, length: number) => Promise<void>;
  readonly reopen?: () => Promise<void>;
  readonly #disk: BlockDevice;
  readonly #baseOffset: number;

  constructor(disk: BlockDevice, baseOffset: number) {
    this.#disk = disk;
    this.#baseOffset = baseOffset;
    const drained = disk.drained?.bind(disk);
    if (drained !== undefined) this.drained = (offset, length) => drained(offset - baseOffset, length);
    if (disk.reopen !== undefined) this.reopen = disk.reopen.bind(disk);
  }

  get name(): string {
    return this.#disk.name;
  }

  get geometry(): Geometry {
    return this.#disk.geometry;
  }

  get capabilities(): Capabilities {
    return this.#disk.capabilities;
  }

  get flushEpoch(): number | undefined {
    return this.#disk.flushEpoch;
  }

  read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.#inRow(this.#disk.read(target, offset - this.#baseOffset, flags));
  }

  write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.#inRow(this.#disk.write(source, offset - this.#baseOffset, flags));
  }

  flush(): Promise<void> {
    return this.#disk.flush();
  }

  discard(offset: number, length: number, flags?: number): Promise<void> {
    return this.#inRow(this.#disk.discard(offset - this.#baseOffset, length, flags));
  }

  writeZeroes(offset: number, length: number, flags?: number): Promise<void> {
    return this.#inRow(this.#disk.writeZeroes(offset - this.#baseOffset, length, flags));
  }

  extents(offset: number, length: number): Promise<readonly Extent[]> {
    return this.#disk.extents(offset - this.#baseOffset, length);
  }

  close(): Promise<void> {
    return this.#disk.close();
  }

  async #inRow(request: Promise<void>): Promise<void> {
    try {
      await request;
    } catch (error) {
      const failure = asDeviceError(error);
      const ranges = failure.ranges.map((range) => ({ ...range, offset: range.offset + this.#baseOffset }));
      throw new DeviceError(failure.device, ranges, { cause: failure });
    }
  }
}
