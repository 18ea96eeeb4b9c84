import { rwFlag } from '../linux/file-calls.ts';
import { FileDevice, type FileDeviceOptions } from './file-device.ts';

/** Block devices and image files without the page cache: every request is one request of the ring. */
export class DirectFileDevice extends FileDevice {
  readonly #memoryAlignBytes: number;
  readonly #readTimeoutMs: number | undefined;

  constructor(options: FileDeviceOptions) {
    super(options);
    this.#memoryAlignBytes = options.descriptor.memoryAlignBytes;
    this.#readTimeoutMs = options.readTimeoutMs;
  }

  protected override fits(buffer: Uint8Array): boolean {
    return this.engine.arena.contains(buffer) && buffer.byteOffset % this.#memoryAlignBytes === 0;
  }

  protected override readPiece(target: Uint8Array, offset: number): Promise<void> {
    return this.engine.read(this.lane, target, offset, this.#readTimeoutMs);
  }

  protected override writePiece(source: Uint8Array, offset: number, durable: boolean): Promise<void> {
    return this.engine.write(this.lane, source, offset, durable ? rwFlag.dataSync : 0);
  }
}
