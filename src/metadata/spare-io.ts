import { assert } from '../block/assert.ts';
import type { BlockDevice } from '../block/block-device.ts';
import type { BufferArena } from '../block/buffer-arena.ts';
import { type Clock, delay } from '../block/clock.ts';
import { asDeviceError, type DeviceError, deviceError } from '../block/device-error.ts';
import { Errno } from '../block/errno.ts';
import { blockBytes } from './block-size.ts';
import { SpareFlush } from './spare-flush.ts';

/** Bytes of one metadata request: 16 blocks are 1 328 records, encoded in well under a millisecond (M7). */
const pieceBytesMax: number = 64 * 1024;
/** A transient failure is tried again this often. */
const transientRetriesMax = 3;
const transientDelayMs = 10;

/** True when the failure is about these blocks, false when it is about the whole spare (R15). */
export function isPlaceFault(error: DeviceError): boolean {
  return error.ranges.every(
    ({ kind }) => kind === 'medium' || kind === 'suspect' || kind === 'timed-out' || kind === 'lost',
  );
}

/** Reads and writes whole blocks of the spare in pieces of the arena's metadata reserve; one piece at a time. */
export class SpareIo {
  readonly spare: BlockDevice;
  readonly clock: Clock;
  readonly flusher: SpareFlush;
  /** Blocks of the largest request. */
  readonly pieceBlocks: number;
  readonly #arena: BufferArena;
  #stopped = false;

  constructor(spare: BlockDevice, arena: BufferArena, clock: Clock) {
    this.spare = spare;
    this.clock = clock;
    this.#arena = arena;
    this.flusher = new SpareFlush(spare);
    this.pieceBlocks = Math.floor(Math.min(pieceBytesMax, arena.largestPiece('metadata')) / blockBytes);
    assert(this.pieceBlocks >= 1, 'the arena has a metadata reserve of at least one block');
  }

  /** Lends a piece of `blocks` blocks to `use`. Never nested: a holder that waits for a second piece could wait for ever. */
  async withPiece<T>(blocks: number, use: (piece: Uint8Array) => Promise<T>): Promise<T> {
    const piece = await this.#arena.whenFree(blocks * blockBytes, 'metadata');
    try {
      return await use(piece);
    } finally {
      this.#arena.release(piece);
    }
  }

  read(piece: Uint8Array, offset: number): Promise<void> {
    return this.#retryTransient(() => this.spare.read(piece, offset));
  }

  /** Somebody else has the spare: from now on every write is refused. */
  stopWrites(): void {
    this.#stopped = true;
  }

  write(piece: Uint8Array, offset: number): Promise<void> {
    if (this.#stopped) {
      return Promise.reject(deviceError(this.spare.name, 'closed', offset, piece.length, Errno.EBUSY));
    }
    return this.#retryTransient(() => this.spare.write(piece, offset));
  }

  /**
   * Reads `count` blocks and shows each in order; undefined for one that cannot be read. The block is lent for the call.
   * Rejects when the spare as a whole does not answer.
   */
  async readEach(
    offset: number,
    count: number,
    visit: (block: Uint8Array | undefined, index: number) => void,
  ): Promise<void> {
    for (let first = 0; first < count; first += this.pieceBlocks) {
      const blocks = Math.min(this.pieceBlocks, count - first);
      if (await this.#readPiece(offset, first, blocks, visit)) continue;
      // A device need not narrow its failed range: ask block by block.
      for (let index = first; index < first + blocks; index += 1) {
        if (!(await this.#readPiece(offset, index, 1, visit))) visit(undefined, index);
      }
    }
  }

  /** Reads and shows `blocks` blocks; false, and nothing shown, when some cannot be read. */
  #readPiece(
    offset: number,
    first: number,
    blocks: number,
    visit: (block: Uint8Array, index: number) => void,
  ): Promise<boolean> {
    return this.withPiece(blocks, async (piece) => {
      try {
        await this.read(piece, offset + first * blockBytes);
      } catch (error) {
        if (isPlaceFault(asDeviceError(error))) return false;
        throw error;
      }
      for (let index = 0; index < blocks; index += 1) visit(blockOf(piece, index), first + index);
      return true;
    });
  }

  /** Throws when a flush has failed since `epoch` was read: what was written since is in doubt (R7). */
  checkFlushed(epoch: number): void {
    if (this.flusher.epoch === epoch) return;
    throw deviceError(
      this.spare.name,
      'path',
      0,
      blockBytes,
      Errno.EIO,
      'a flush failed while metadata was written',
    );
  }

  async #retryTransient(request: () => Promise<void>): Promise<void> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        await request();
        return;
      } catch (error) {
        if (asDeviceError(error).kind !== 'transient' || attempt >= transientRetriesMax) throw error;
      }
      await delay(this.clock, transientDelayMs);
    }
  }
}

export function blockOf(piece: Uint8Array, index: number): Uint8Array {
  return piece.subarray(index * blockBytes, (index + 1) * blockBytes);
}

/** Bytes that read back differently from what was written: as bad as a sector that cannot be read. */
export function mismatch(spare: BlockDevice, offset: number, length: number): DeviceError {
  return deviceError(
    spare.name,
    'medium',
    offset,
    length,
    Errno.EIO,
    'metadata does not read back as written',
  );
}
