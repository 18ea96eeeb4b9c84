import type { BlockDevice, Capabilities, Extent, Geometry } from '../../block/block-device.ts';
import { deviceError } from '../../block/device-error.ts';
import type { LeavableDevice } from './leavable-device.ts';

/** Hears of every range whose bytes may change, before they do. */
export type ChangeObserver = (offset: number, length: number) => void;

/**
 * The spare as everything above sees it, whichever disk it is just now. It keeps the size and blocks of its first disk: a disk
 * that takes over has at least that size, and blocks no larger.
 */
export class ReplaceableSpare implements BlockDevice {
  readonly geometry: Geometry;
  /** Only where the first disk has it. */
  readonly reopen?: () => Promise<void>;
  #disk: LeavableDevice;
  #observer: ChangeObserver | undefined;

  constructor(disk: LeavableDevice) {
    this.#disk = disk;
    this.geometry = disk.geometry;
    if (disk.reopen !== undefined) this.reopen = () => this.#reopenDisk();
  }

  get name(): string {
    return this.#disk.name;
  }

  get capabilities(): Capabilities {
    return this.#disk.capabilities;
  }

  get flushEpoch(): number | undefined {
    return this.#disk.flushEpoch;
  }

  get disk(): LeavableDevice {
    return this.#disk;
  }

  /** From the next request on. What is under way stays with the old disk. */
  replaceBy(disk: LeavableDevice): void {
    this.#disk = disk;
  }

  /** One observer, or none. */
  observe(observer: ChangeObserver | undefined): void {
    this.#observer = observer;
  }

  read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.#disk.read(target, offset, flags);
  }

  write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
    this.#observer?.(offset, source.length);
    return this.#disk.write(source, offset, flags);
  }

  flush(): Promise<void> {
    return this.#disk.flush();
  }

  discard(offset: number, length: number, flags?: number): Promise<void> {
    this.#observer?.(offset, length);
    return this.#disk.discard(offset, length, flags);
  }

  writeZeroes(offset: number, length: number, flags?: number): Promise<void> {
    this.#observer?.(offset, length);
    return this.#disk.writeZeroes(offset, length, flags);
  }

  extents(offset: number, length: number): Promise<readonly Extent[]> {
    return this.#disk.extents(offset, length);
  }

  drained(offset: number, length: number): Promise<void> {
    return this.#disk.drained(offset, length);
  }

  close(): Promise<void> {
    return this.#disk.close();
  }

  #reopenDisk(): Promise<void> {
    const disk = this.#disk;
    return disk.reopen?.() ?? Promise.reject(deviceError(disk.name, 'path', 0, this.geometry.sizeBytes));
  }
}
