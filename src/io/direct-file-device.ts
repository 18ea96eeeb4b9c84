import { IoFlags } from '../block/block-device.ts';
import { Apart } from './apart.ts';
import { FileDevice, type FileDeviceOptions } from './file-device.ts';

/** Block devices and image files without the page cache: every request is one request of the engine. */
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

  protected override readPiece(target: Uint8Array, offset: number, flags: number): Promise<void> {
    return this.engine.read(this.lane, target, offset, this.#readTimeoutMs, apartOf(flags));
  }

  protected override writePiece(source: Uint8Array, offset: number, flags: number): Promise<void> {
    const durable = (flags & IoFlags.fua) !== 0;
    return this.engine.write(this.lane, source, offset, durable, apartOf(flags));
  }
}

function apartOf(flags: number): Apart {
  if ((flags & IoFlags.apartEven) !== 0) return Apart.even;
  return (flags & IoFlags.apartOdd) === 0 ? Apart.no : Apart.odd;
}
