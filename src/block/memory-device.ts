import {
  type BlockDevice,
  type Capabilities,
  type Extent,
  type Geometry,
  rejectInvalid,
} from './block-device.ts';
import { deviceError } from './device-error.ts';
import { Errno } from './errno.ts';

export interface MemoryDeviceOptions {
  readonly name?: string;
  /** A multiple of the logical block. */
  readonly sizeBytes: number;
  readonly logicalBlockBytes?: number;
  readonly physicalBlockBytes?: number;
}

/** Bytes in memory: never fails, forgets all at the end of the process. For tests and demonstrations. */
export class MemoryDevice implements BlockDevice {
  readonly name: string;
  readonly geometry: Geometry;
  readonly capabilities: Capabilities = {
    write: true,
    flush: true,
    fua: true,
    discard: true,
    writeZeroes: true,
    fastZeroes: true,
    rotational: false,
    volatileCache: false,
  };
  /** The contents, for tests that compare bytes behind the device's back. */
  readonly bytes: Uint8Array;
  #closed = false;

  constructor(options: MemoryDeviceOptions) {
    const logicalBlockBytes = options.logicalBlockBytes ?? 512;
    this.name = options.name ?? 'memory';
    this.geometry = {
      sizeBytes: options.sizeBytes,
      logicalBlockBytes,
      physicalBlockBytes: options.physicalBlockBytes ?? logicalBlockBytes,
    };
    this.bytes = new Uint8Array(options.sizeBytes);
  }

  read(target: Uint8Array, offset: number): Promise<void> {
    const refusal = this.#refusal(offset, target.length);
    if (refusal !== undefined) return refusal;
    target.set(this.bytes.subarray(offset, offset + target.length));
    return Promise.resolve();
  }

  write(source: Uint8Array, offset: number): Promise<void> {
    const refusal = this.#refusal(offset, source.length);
    if (refusal !== undefined) return refusal;
    this.bytes.set(source, offset);
    return Promise.resolve();
  }

  flush(): Promise<void> {
    return this.#closed ? this.#rejectClosed(0, 0) : Promise.resolve();
  }

  discard(offset: number, length: number): Promise<void> {
    return this.writeZeroes(offset, length);
  }

  writeZeroes(offset: number, length: number): Promise<void> {
    const refusal = this.#refusal(offset, length);
    if (refusal !== undefined) return refusal;
    this.bytes.fill(0, offset, offset + length);
    return Promise.resolve();
  }

  extents(offset: number, length: number): Promise<readonly Extent[]> {
    return this.#refusal(offset, length) ?? Promise.resolve([{ length, state: 'data' }]);
  }

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }

  #refusal(offset: number, length: number): Promise<never> | undefined {
    return this.#closed ? this.#rejectClosed(offset, length) : rejectInvalid(this, offset, length);
  }

  #rejectClosed(offset: number, length: number): Promise<never> {
    return Promise.reject(deviceError(this.name, 'closed', offset, length, Errno.ESHUTDOWN));
  }
}
