import {
  type BlockDevice,
  type Capabilities,
  type Extent,
  type Geometry,
  IoFlags,
  rejectInvalid,
} from '../block/block-device.ts';
import type { ArenaReserve } from '../block/buffer-arena.ts';
import { type DeviceError, deviceError } from '../block/device-error.ts';
import { Errno } from '../block/errno.ts';
import { Operation } from '../linux/uring-numbers.ts';
import { carryInPieces } from './bounced-transfer.ts';
import { diskFailure } from './disk-failure.ts';
import type { DiskReopener } from './disk-reopener.ts';
import { FileSizeWatch } from './file-size-watch.ts';
import { HeldDescriptor } from './held-descriptor.ts';
import type { IoEngine } from './io-engine.ts';
import type { OpenedDescriptor } from './open-descriptor.ts';
import { OpenError } from './open-error.ts';
import type { RequestFailure, RequestLane } from './request-lane.ts';
import { SpaceCommands } from './space-commands.ts';

export interface FileDeviceOptions {
  readonly name: string;
  readonly engine: IoEngine;
  readonly descriptor: OpenedDescriptor;
  readonly readOnly: boolean;
  /** Reads reject with `timed-out` after this; the kernel keeps the buffer until it answers. None by default. */
  readonly readTimeoutMs: number | undefined;
  readonly queueDepthMax: number;
  /** Where memory for requests outside the arena comes from. */
  readonly bounceReserve: ArenaReserve;
  /** What opens the same disk again (R32); none by default. */
  readonly reopener?: DiskReopener;
  /** An image file has lost its end while it was open, once; it then has so many bytes. */
  readonly onCut?: (hasBytes: number) => void;
}

/** R21: a larger one would be one long unanswered request. */
const zeroPieceBytesMax = 1024 * 1024;

/**
 * What direct and buffered files share: refusals, memory outside the arena, flush, zeroes, errors, closing. A subclass
 * says how one piece of memory inside the arena is read and written.
 */
export abstract class FileDevice implements BlockDevice {
  readonly name: string;
  readonly kind: 'block' | 'file';
  /** R28: true when reads and writes go through the page cache. */
  readonly buffered: boolean;
  readonly geometry: Geometry;
  protected readonly engine: IoEngine;
  readonly #held: HeldDescriptor;
  /** Of image files; a disk that shrinks refuses requests by itself. */
  readonly #size: FileSizeWatch | undefined;
  readonly #bounceReserve: ArenaReserve;
  #capabilities: Capabilities;
  readonly #space: SpaceCommands;

  protected constructor(options: FileDeviceOptions) {
    const { descriptor } = options;
    this.name = options.name;
    this.kind = descriptor.kind;
    this.buffered = !descriptor.direct;
    this.geometry = {
      sizeBytes: descriptor.sizeBytes,
      logicalBlockBytes: descriptor.logicalBlockBytes,
      physicalBlockBytes: descriptor.physicalBlockBytes,
    };
    const write = !options.readOnly;
    this.engine = options.engine;
    this.#bounceReserve = options.bounceReserve;
    this.#held = new HeldDescriptor({
      name: options.name,
      descriptor,
      queueDepthMax: options.queueDepthMax,
      errorOf: (failure) => this.errorOf(failure),
      reopener: options.reopener,
    });
    this.#size = this.kind === 'file' ? this.#watchSize(options.onCut) : undefined;
    this.#space = new SpaceCommands({
      engine: options.engine,
      descriptor,
      errorOf: (failure) => this.errorOf(failure),
    });
    this.#capabilities = {
      write,
      flush: true,
      fua: write,
      discard: write && this.#space.discards,
      // Always: they can be written.
      writeZeroes: write,
      fastZeroes: write && this.#space.zeroesFast,
      rotational: descriptor.rotational,
      volatileCache: descriptor.queue.volatileCache,
    };
  }

  /** What the disk refuses as unknown is cleared here (R15). */
  get capabilities(): Capabilities {
    const { write, discard, fastZeroes } = this.#capabilities;
    const { discards, zeroesFast } = this.#space;
    // Asked for with every durable write: made anew only when it changed.
    if (discard !== (write && discards) || fastZeroes !== (write && zeroesFast)) {
      this.#capabilities = {
        ...this.#capabilities,
        discard: write && discards,
        fastZeroes: write && zeroesFast,
      };
    }
    return this.#capabilities;
  }

  /** Of the descriptor that is open now. */
  protected get lane(): RequestLane {
    return this.#held.lane;
  }

  /** Requests that missed their deadline and that the kernel has not answered yet (R3). */
  get zombies(): number {
    return this.lane.zombies;
  }

  /** Requests that the kernel has not answered, zombies included. */
  get inFlight(): number {
    return this.lane.inFlight;
  }

  read(target: Uint8Array, offset: number, flags: number = IoFlags.none): Promise<void> {
    const refusal = this.#refusal(offset, target.length);
    if (refusal !== undefined) return refusal;
    this.#size?.noteRequest();
    return this.fits(target)
      ? this.readPiece(target, offset, flags)
      : this.#readBounced(target, offset, flags);
  }

  write(source: Uint8Array, offset: number, flags: number = IoFlags.none): Promise<void> {
    const refusal = this.#refusal(offset, source.length) ?? this.#writeRefusal(offset, source.length);
    if (refusal !== undefined) return refusal;
    this.#size?.noteRequest();
    const isLast = offset + source.length === this.geometry.sizeBytes;
    return isLast && this.#size !== undefined
      ? this.#writeLast(this.#size, source, offset, flags)
      : this.#write(source, offset, flags);
  }

  /**
   * fdatasync, and a look at a file's size: what a file that was cut has stored is not what it was given. A failure is final:
   * what the kernel dropped does not come back with a second call.
   */
  flush(): Promise<void> {
    if (this.#held.shut !== undefined) return this.#held.rejectShut();
    return this.#sync();
  }

  discard(offset: number, length: number, flags: number = IoFlags.none): Promise<void> {
    const refusal = this.#refusal(offset, length) ?? this.#writeRefusal(offset, length);
    if (refusal !== undefined) return refusal;
    // A hole in a file is room given away; a disk only forgets.
    const keep = this.kind === 'file' && (flags & IoFlags.keepAllocated) !== 0;
    if (keep) return Promise.resolve();
    return this.inSteps(() => this.#space.discard(this.lane, offset, length));
  }

  writeZeroes(offset: number, length: number, flags: number = IoFlags.none): Promise<void> {
    const refusal = this.#refusal(offset, length) ?? this.#writeRefusal(offset, length);
    if (refusal !== undefined) return refusal;
    return this.inSteps(() => this.#writeZeroes(offset, length, flags));
  }

  extents(offset: number, length: number): Promise<readonly Extent[]> {
    const refusal = this.#refusal(offset, length);
    if (refusal !== undefined) return refusal;
    return this.inSteps(() => this.#space.extents(this.lane, offset, length));
  }

  close(): Promise<void> {
    this.#size?.close();
    return this.#held.close(() => this.released());
  }

  /**
   * R32: closes a dead descriptor and opens the same disk again, under another name where it has one now, proven by its
   * identity. Requests that come meanwhile reject. Rejects with a `DeviceError` of kind `path`, and may be called again.
   */
  async reopen(): Promise<void> {
    try {
      await this.#held.reopen();
    } catch (error) {
      if (!(error instanceof OpenError)) throw error;
      throw deviceError(this.name, 'path', 0, this.geometry.sizeBytes, Errno.ENODEV, error.message);
    }
  }

  /** R30: why the open descriptor does not stand on the disk that was opened, or undefined when it does. */
  identityTrouble(): Promise<string | undefined> {
    return this.#held.trouble();
  }

  /** R28: every write is durable when it settles. */
  protected get writesThrough(): boolean {
    return false;
  }

  /** True when the kernel can use this memory as it is. */
  protected abstract fits(buffer: Uint8Array): boolean;
  protected abstract readPiece(target: Uint8Array, offset: number, flags: number): Promise<void>;
  protected abstract writePiece(source: Uint8Array, offset: number, flags: number): Promise<void>;

  protected errorOf(failure: RequestFailure): DeviceError {
    // A read that met the end of the file, within what was its size: it was cut.
    if (failure.errno === Errno.ENXIO && failure.operation === Operation.read) void this.#size?.isWhole();
    return diskFailure(this, this.lane.fd, failure);
  }

  /** Runs a request of several steps so that `close` waits for it, and still admits its next step, nested or not. */
  protected inSteps<T>(steps: () => Promise<T>): Promise<T> {
    return this.#held.inSteps(steps);
  }

  #refusal(offset: number, length: number): Promise<never> | undefined {
    return this.#held.shut === undefined
      ? rejectInvalid(this, offset, length)
      : this.#held.rejectShut(offset, length);
  }

  #writeRefusal(offset: number, length: number): Promise<never> | undefined {
    if (this.#capabilities.write) return undefined;
    return Promise.reject(deviceError(this.name, 'refused', offset, length, Errno.EROFS, 'opened read-only'));
  }

  #watchSize(onCut: ((hasBytes: number) => void) | undefined): FileSizeWatch {
    return new FileSizeWatch({
      sizeBytes: this.geometry.sizeBytes,
      onDescriptor: (look) => this.#held.whileOpen(look),
      onCut: (hasBytes) => {
        this.#held.noteCut(hasBytes);
        onCut?.(hasBytes);
      },
    });
  }

  #write(source: Uint8Array, offset: number, flags: number): Promise<void> {
    return this.fits(source)
      ? this.writePiece(source, offset, flags)
      : this.#writeBounced(source, offset, flags);
  }

  /** A write of the last block would give a file that was cut its old size back, and nobody could see it any more. */
  #writeLast(size: FileSizeWatch, source: Uint8Array, offset: number, flags: number): Promise<void> {
    return this.inSteps(async () => {
      if (!(await size.isWhole())) await this.#held.rejectShut(offset, source.length);
      await this.#write(source, offset, flags);
    });
  }

  #sync(): Promise<void> {
    const size = this.#size;
    if (size === undefined) return this.engine.syncData(this.lane);
    return this.inSteps(async () => {
      await this.engine.syncData(this.lane);
      if (!(await size.isWhole())) await this.#held.rejectShut();
    });
  }

  #readBounced(target: Uint8Array, offset: number, flags: number): Promise<void> {
    return this.#bounced(offset, target.length, async (piece, at) => {
      try {
        await this.readPiece(piece, offset + at, flags);
      } finally {
        // After a failure too: bytes outside the failed ranges are valid.
        target.set(piece, at);
      }
    });
  }

  #writeBounced(source: Uint8Array, offset: number, flags: number): Promise<void> {
    return this.#bounced(offset, source.length, (piece, at) => {
      piece.set(source.subarray(at, at + piece.length));
      return this.writePiece(piece, offset + at, flags);
    });
  }

  #bounced(
    offset: number,
    length: number,
    carry: (piece: Uint8Array, at: number) => Promise<void>,
  ): Promise<void> {
    const { name, engine } = this;
    const reserve = this.#bounceReserve;
    return this.inSteps(() => carryInPieces({ name, arena: engine.arena, reserve, offset, length, carry }));
  }

  async #writeZeroes(offset: number, length: number, flags: number): Promise<void> {
    for (let at = 0; at < length; at += zeroPieceBytesMax) {
      const pieceLength = Math.min(zeroPieceBytesMax, length - at);
      if (await this.#space.zero(this.lane, offset + at, pieceLength, flags)) continue;
      if ((flags & IoFlags.onlyIfFast) !== 0)
        throw deviceError(this.name, 'unsupported', offset, length, Errno.EOPNOTSUPP);
      await this.#writePlainZeroes(offset + at, pieceLength);
    }
    if ((flags & IoFlags.fua) !== 0 || this.writesThrough) await this.#sync();
  }

  #writePlainZeroes(offset: number, length: number): Promise<void> {
    return this.#bounced(offset, length, (piece, at) => {
      piece.fill(0);
      return this.writePiece(piece, offset + at, IoFlags.none);
    });
  }

  /** Nothing is in flight any more: a subclass lets go of what it has. */
  protected released(): void {}
}
