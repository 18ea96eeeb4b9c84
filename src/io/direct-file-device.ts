import { IoFlags } from '../block/block-device.ts';
import { rwFlag } from '../linux/file-calls.ts';
import { FileDevice, type FileDeviceOptions } from './file-device.ts';

/**
 * Two priorities of the best-effort class that nobody has by default (that is 4, or none): linux/ioprio.h. Blocks of
 * different priority are never joined into one request (blk_rq_merge_ok in block/blk-merge.c).
 */
const apartEvenPriority = (2 << 13) | 3;
const apartOddPriority = (2 << 13) | 5;

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

  protected override readPiece(target: Uint8Array, offset: number, flags: number): Promise<void> {
    return this.engine.read(this.lane, target, offset, this.#readTimeoutMs, ioPriorityOf(flags));
  }

  protected override writePiece(source: Uint8Array, offset: number, flags: number): Promise<void> {
    const writeFlags = (flags & IoFlags.fua) === 0 ? 0 : rwFlag.dataSync;
    return this.engine.write(this.lane, source, offset, writeFlags, ioPriorityOf(flags));
  }
}

function ioPriorityOf(flags: number): number {
  if ((flags & IoFlags.apartEven) !== 0) return apartEvenPriority;
  return (flags & IoFlags.apartOdd) === 0 ? 0 : apartOddPriority;
}
