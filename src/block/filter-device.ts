import type { BlockDevice, Capabilities, Extent, Geometry } from './block-device.ts';

/**
 * Passes everything to the device below. A filter overrides the one or two methods it is about.
 * Nothing here is `async`: a layer that only forwards returns the promise below it (an async layer costs 75 ns each).
 */
export class FilterDevice implements BlockDevice {
  protected readonly below: BlockDevice;
  /** Only where the device below has them. */
  readonly drained?: (offset: number, length: number) => Promise<void>;
  readonly reopen?: () => Promise<void>;

  constructor(below: BlockDevice) {
    this.below = below;
    if (below.drained !== undefined) this.drained = below.drained.bind(below);
    if (below.reopen !== undefined) this.reopen = below.reopen.bind(below);
  }

  get name(): string {
    return this.below.name;
  }

  get geometry(): Geometry {
    return this.below.geometry;
  }

  get capabilities(): Capabilities {
    return this.below.capabilities;
  }

  get flushEpoch(): number | undefined {
    return this.below.flushEpoch;
  }

  read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.below.read(target, offset, flags);
  }

  write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.below.write(source, offset, flags);
  }

  flush(): Promise<void> {
    return this.below.flush();
  }

  discard(offset: number, length: number, flags?: number): Promise<void> {
    return this.below.discard(offset, length, flags);
  }

  writeZeroes(offset: number, length: number, flags?: number): Promise<void> {
    return this.below.writeZeroes(offset, length, flags);
  }

  extents(offset: number, length: number): Promise<readonly Extent[]> {
    return this.below.extents(offset, length);
  }

  close(): Promise<void> {
    return this.below.close();
  }
}
