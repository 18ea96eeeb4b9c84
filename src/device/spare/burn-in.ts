import { assert } from '../../block/assert.ts';
import type { BlockDevice } from '../../block/block-device.ts';
import type { BufferArena } from '../../block/buffer-arena.ts';
import type { Random } from '../../block/clock.ts';
import { asDeviceError, type DeviceError } from '../../block/device-error.ts';
import { firstPlaceOffset, type SpareLayout, type SpareRange } from '../../metadata/layout.ts';
import { type MetadataParts, MetadataStore } from '../../metadata/metadata-store.ts';
import { retiredRecord } from '../../remap/table/live-table.ts';
import { RecordedState } from '../host/recorded-state.ts';
import { SetupError } from '../setup-error.ts';

/** One request. A disk's own read-ahead and write cache make larger ones no faster. */
const pieceBytes = 1_048_576;

/** A spare with more bad slots than that is no spare: one of 100, and never fewer than eight. */
const badSlotsShare = 0.01;
const badSlotsMin = 8;

export interface BurnInParts {
  readonly device: BlockDevice;
  readonly arena: BufferArena;
  readonly random: Random;
  readonly layout: SpareLayout;
  /** Bytes done of all; each byte counts twice, written and read. */
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
}

export interface BurnInReport {
  readonly slotsChecked: number;
  /** Ascending; none of them is part of the metadata. */
  readonly badSlots: readonly number[];
}

/**
 * Proves a spare before anything depends on it: every slot and every place of the metadata is written, then, when all is
 * written and flushed, read back and compared. Each granule gets bytes of its own, so that a disk that is smaller than it
 * says, and writes round its end, is found too. What it held there is gone; what lies in front of the first superblock and
 * behind the last ones is left alone. Throws `SetupError` for a spare that does not answer, has more bad slots than a healthy
 * disk would, or bad blocks where the metadata goes.
 */
export async function burnIn(parts: BurnInParts): Promise<BurnInReport> {
  return await new BurnIn(parts).run();
}

/** Of a spare that was just made: a session of its own, closed again. Whoever serves it finds them in the table (M9). */
export async function retireSlots(parts: MetadataParts, slots: readonly number[]): Promise<void> {
  const { store } = await MetadataStore.open(parts);
  await store.settle(new RecordedState(slots.map(retiredRecord)));
  await store.close();
}

class BurnIn {
  readonly #parts: BurnInParts;
  readonly #granuleBytes: number;
  readonly #start: number;
  readonly #end: number;
  readonly #nonce = new Uint8Array(4);
  readonly #bad = new Set<number>();
  #doneBytes = 0;

  constructor(parts: BurnInParts) {
    this.#parts = parts;
    const { granuleBytes, replicas } = parts.layout;
    this.#granuleBytes = granuleBytes;
    this.#start = Math.ceil(firstPlaceOffset / granuleBytes) * granuleBytes;
    const last = replicas[replicas.length - 1];
    assert(
      last !== undefined && pieceBytes % granuleBytes === 0,
      'a layout has replicas, a piece is granules',
    );
    this.#end = last.superblockOffset;
    parts.random.fill(this.#nonce);
  }

  async run(): Promise<BurnInReport> {
    const { arena, device, layout } = this.#parts;
    const piece = await arena.whenFree(pieceBytes, 'metadata');
    const expected = new Uint8Array(this.#granuleBytes);
    try {
      await this.#each(async (offset, length) => {
        this.#fill(piece.subarray(0, length), offset);
        await this.#try(offset, length, (from, bytes) =>
          device.write(piece.subarray(from - offset, from - offset + bytes), from),
        );
      });
      await this.#flush();
      await this.#each(async (offset, length) => {
        piece.fill(0);
        await this.#try(offset, length, (from, bytes) =>
          device.read(piece.subarray(from - offset, from - offset + bytes), from),
        );
        this.#compare(piece.subarray(0, length), offset, expected);
      });
    } finally {
      arena.release(piece);
    }
    return { slotsChecked: layout.slotCount, badSlots: this.#judge() };
  }

  async #each(visit: (offset: number, length: number) => Promise<void>): Promise<void> {
    const totalBytes = 2 * (this.#end - this.#start);
    for (let offset = this.#start; offset < this.#end; offset += pieceBytes) {
      const length = Math.min(pieceBytes, this.#end - offset);
      await visit(offset, length);
      this.#doneBytes += length;
      this.#parts.onProgress(this.#doneBytes, totalBytes);
    }
  }

  /** A piece that fails is asked granule by granule: those that fail alone are bad. */
  async #try(
    offset: number,
    length: number,
    request: (offset: number, length: number) => Promise<void>,
  ): Promise<void> {
    if ((await this.#failureOf(() => request(offset, length))) === undefined) return;
    for (let from = offset; from < offset + length; from += this.#granuleBytes) {
      const failure = await this.#failureOf(() => request(from, this.#granuleBytes));
      if (failure !== undefined) this.#bad.add(from / this.#granuleBytes);
    }
  }

  async #failureOf(request: () => Promise<void>): Promise<DeviceError | undefined> {
    try {
      await request();
      return undefined;
    } catch (error) {
      const failure = asDeviceError(error);
      if (failure.kind === 'medium' || failure.kind === 'suspect') return failure;
      throw this.#refusal(failure.message, failure);
    }
  }

  async #flush(): Promise<void> {
    try {
      await this.#parts.device.flush();
    } catch (error) {
      const failure = asDeviceError(error);
      throw this.#refusal(failure.message, failure);
    }
  }

  /** Words of four bytes: the session, the granule's number, and where in the granule they are. */
  #fill(piece: Uint8Array, offset: number): void {
    for (let from = 0; from < piece.length; from += this.#granuleBytes) {
      this.#fillGranule(
        piece.subarray(from, from + this.#granuleBytes),
        (offset + from) / this.#granuleBytes,
      );
    }
  }

  #fillGranule(bytes: Uint8Array, granule: number): void {
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    const nonce = new DataView(this.#nonce.buffer).getUint32(0);
    // A linear congruential sequence (Numerical Recipes): no word is like its neighbour, no granule like another one.
    let word = (nonce ^ Math.imul(granule, 2_654_435_761)) >>> 0;
    for (let at = 0; at < words.length; at += 1) {
      words[at] = word;
      word = (Math.imul(word, 1_664_525) + 1_013_904_223) >>> 0;
    }
  }

  #compare(piece: Uint8Array, offset: number, expected: Uint8Array): void {
    for (let from = 0; from < piece.length; from += this.#granuleBytes) {
      const granule = (offset + from) / this.#granuleBytes;
      this.#fillGranule(expected, granule);
      if (Buffer.compare(piece.subarray(from, from + this.#granuleBytes), expected) !== 0) {
        this.#bad.add(granule);
      }
    }
  }

  #judge(): readonly number[] {
    const { layout } = this.#parts;
    const bad = [...this.#bad].sort((a, b) => a - b);
    const inMetadata = bad.find((slot) =>
      layout.reservedRanges().some((range) => holds(range, slot, this.#granuleBytes)),
    );
    if (inMetadata !== undefined) {
      throw this.#refusal(`block ${inMetadata} is bad, and the metadata would be there`);
    }
    const most = Math.max(badSlotsMin, Math.floor(layout.slotCount * badSlotsShare));
    if (bad.length > most)
      throw this.#refusal(`${bad.length} of ${layout.slotCount} slots are bad, at most ${most} may be`);
    return bad;
  }

  #refusal(why: string, cause?: DeviceError): SetupError {
    const message = `${this.#parts.device.name}: not fit to be a spare: ${why}; use another one`;
    return new SetupError('failed', message, cause === undefined ? undefined : { cause });
  }
}

function holds({ offset, length }: SpareRange, slot: number, granuleBytes: number): boolean {
  return slot * granuleBytes >= offset && slot * granuleBytes < offset + length;
}
