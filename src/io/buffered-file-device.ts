import { IoFlags } from '../block/block-device.ts';
import { Errno } from '../block/errno.ts';
import { NoWaitReader, readAt, writeAt } from '../linux/file-calls.ts';
import { Operation } from '../linux/uring-numbers.ts';
import { FileDevice, type FileDeviceOptions } from './file-device.ts';
import { InlineBudget } from './inline-budget.ts';

/**
 * `writeback`  reads from the cache and writes into it without the engine; durable after a flush
 * `through`    R28: an image that refuses direct I/O; every write is durable (RWF_DSYNC) and goes through the engine
 * `memory`     tmpfs and its like: io_uring would hand each request to a kernel worker, 45 µs against 1
 */
export type BufferedMode = 'writeback' | 'through' | 'memory';

export interface BufferedFileDeviceOptions extends FileDeviceOptions {
  readonly mode: BufferedMode;
  readonly arenaAddress: number;
}

const interruptsMax = 16;

/**
 * Image files through the page cache. A cached read is a `preadv2(RWF_NOWAIT)` on the spot, with the engine behind it for
 * what is not cached; a write is a `pwrite` on the spot (1.25 × nbdkit, 0.76 × through io_uring), which may wait for
 * write-back and is therefore never used for real disks.
 */
export class BufferedFileDevice extends FileDevice {
  readonly #mode: BufferedMode;
  readonly #arenaAddress: number;
  readonly #readTimeoutMs: number | undefined;
  readonly #noWaitReader: NoWaitReader = new NoWaitReader();
  readonly #budget: InlineBudget = new InlineBudget();
  #noWaitWorks = true;

  constructor(options: BufferedFileDeviceOptions) {
    super(options);
    this.#mode = options.mode;
    this.#arenaAddress = options.arenaAddress;
    this.#readTimeoutMs = options.readTimeoutMs;
  }

  protected override get writesThrough(): boolean {
    return this.#mode === 'through';
  }

  protected override fits(buffer: Uint8Array): boolean {
    return this.engine.arena.contains(buffer);
  }

  protected override readPiece(target: Uint8Array, offset: number): Promise<void> {
    return this.#budget.spend(target.length)
      ? this.#readNow(target, offset)
      : this.#later(target.length, () => this.#readNow(target, offset));
  }

  protected override writePiece(source: Uint8Array, offset: number, flags: number): Promise<void> {
    const durable = (flags & IoFlags.fua) !== 0;
    const throughEngine = this.#mode === 'through' || (durable && this.#mode === 'writeback');
    if (throughEngine) return this.engine.write(this.lane, source, offset, true);
    return this.#budget.spend(source.length)
      ? this.#writeInline(source, offset)
      : this.#later(source.length, () => this.#writeInline(source, offset));
  }

  protected override released(): void {
    this.#noWaitReader.close();
  }

  #later(bytes: number, request: () => Promise<void>): Promise<void> {
    return this.inSteps(async () => {
      do await this.#budget.renewed();
      while (!this.#budget.spend(bytes));
      await request();
    });
  }

  #readNow(target: Uint8Array, offset: number): Promise<void> {
    const done = this.#readInline(target, offset);
    if (done === target.length) return Promise.resolve();
    // The error, if it is one, is the engine's to find: it knows which bytes came before it.
    return this.engine.read(this.lane, target.subarray(done), offset + done, this.#readTimeoutMs);
  }

  /** Bytes that were there without waiting. */
  #readInline(target: Uint8Array, offset: number): number {
    const { fd } = this.lane;
    const address = this.#arenaAddress + target.byteOffset;
    if (this.#noWaitWorks) {
      const result = this.#noWaitReader.read(fd, address, target.length, offset);
      if (result === -Errno.EOPNOTSUPP) this.#noWaitWorks = false;
      else return Math.max(0, result);
    }
    return this.#mode === 'memory' ? Math.max(0, readAt(fd, address, target.length, offset)) : 0;
  }

  #writeInline(source: Uint8Array, offset: number): Promise<void> {
    const address = this.#arenaAddress + source.byteOffset;
    let done = 0;
    let interrupts = 0;
    while (done < source.length) {
      const result = writeAt(this.lane.fd, address + done, source.length - done, offset + done);
      if (result > 0) {
        done += result;
      } else if (result === -Errno.EINTR && interrupts < interruptsMax) {
        interrupts += 1;
      } else {
        const errno = result === 0 ? Errno.ENXIO : -result;
        const failure = { operation: Operation.write, errno, timedOut: false };
        return Promise.reject(this.errorOf({ ...failure, fileOffset: offset, length: source.length, done }));
      }
    }
    return Promise.resolve();
  }
}
