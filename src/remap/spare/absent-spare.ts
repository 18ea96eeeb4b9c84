import type { BlockDevice, Capabilities, Extent, Geometry } from '../../block/block-device.ts';
import { deviceError } from '../../block/device-error.ts';
import { Errno } from '../../block/errno.ts';

/** In the place of a spare that was not there when its device was opened: it is away, until the device is opened again. */
export class AbsentSpare implements BlockDevice {
  readonly name: string;
  readonly geometry: Geometry;
  readonly capabilities: Capabilities = {
    write: true,
    flush: true,
    fua: false,
    discard: false,
    writeZeroes: false,
    fastZeroes: false,
    rotational: false,
  };

  constructor(name: string, geometry: Geometry) {
    this.name = name;
    this.geometry = geometry;
  }

  read(target: Uint8Array, offset: number): Promise<void> {
    return this.#away(offset, target.length);
  }

  write(source: Uint8Array, offset: number): Promise<void> {
    return this.#away(offset, source.length);
  }

  flush(): Promise<void> {
    return this.#away(0, this.geometry.sizeBytes);
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#away(offset, length);
  }

  writeZeroes(offset: number, length: number): Promise<void> {
    return this.#away(offset, length);
  }

  extents(offset: number, length: number): Promise<readonly Extent[]> {
    return this.#away(offset, length);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #away(offset: number, length: number): Promise<never> {
    return Promise.reject(deviceError(this.name, 'path', offset, length, Errno.ENODEV));
  }
}
