import {
  type BlockDevice,
  type Capabilities,
  type Extent,
  type Geometry,
  rejectInvalid,
} from '../block/block-device.ts';
import {
  asDeviceError,
  DeviceError,
  deviceError,
  type FailedRange,
  failedWithin,
} from '../block/device-error.ts';
import { Errno } from '../block/errno.ts';
import { FilterDevice } from '../block/filter-device.ts';
import { extentPiecesMax, specialExtents } from './request/remapped-extents.ts';
import { type Piece, planPieces } from './request/request-plan.ts';
import type { GranuleTable } from './table/granule-table.ts';

export interface SparelessOptions {
  readonly name: string;
  readonly main: BlockDevice;
  /** A copy of the table; not changed by anybody. */
  readonly table: GranuleTable;
  /** As the device had it with its spare. */
  readonly geometry: Geometry;
}

/**
 * M13: a device whose spare is gone: main, read-only. What was moved or lost is EIO, whatever main holds there: those bytes
 * were replaced by newer ones.
 */
export class SparelessDevice extends FilterDevice {
  readonly #name: string;
  readonly #table: GranuleTable;
  readonly #geometry: Geometry;

  constructor(options: SparelessOptions) {
    super(options.main);
    this.#name = options.name;
    this.#table = options.table;
    this.#geometry = options.geometry;
  }

  override get name(): string {
    return this.#name;
  }

  override get geometry(): Geometry {
    return this.#geometry;
  }

  override get capabilities(): Capabilities {
    const { rotational } = this.below.capabilities;
    return {
      write: false,
      flush: true,
      fua: false,
      discard: false,
      writeZeroes: false,
      fastZeroes: false,
      rotational,
    };
  }

  override read(target: Uint8Array, offset: number): Promise<void> {
    return rejectInvalid(this, offset, target.length) ?? this.#readPieces(target, offset);
  }

  override write(source: Uint8Array, offset: number): Promise<void> {
    return this.#refuse(offset, source.length);
  }

  /** Nothing was written. */
  override flush(): Promise<void> {
    return Promise.resolve();
  }

  override discard(offset: number, length: number): Promise<void> {
    return this.#refuse(offset, length);
  }

  override writeZeroes(offset: number, length: number): Promise<void> {
    return this.#refuse(offset, length);
  }

  override extents(offset: number, length: number): Promise<readonly Extent[]> {
    const refusal = rejectInvalid(this, offset, length);
    if (refusal !== undefined) return refusal;
    const pieces = this.#plan(offset, length, extentPiecesMax);
    return Promise.resolve(
      pieces.flatMap((piece) =>
        piece.place === 'main'
          ? [{ length: piece.length, state: 'data' as const }]
          : specialExtents(this.#table, piece, this.#geometry.physicalBlockBytes),
      ),
    );
  }

  #plan(offset: number, length: number, piecesMax?: number): readonly Piece[] {
    return planPieces(this.#table, this.#geometry.physicalBlockBytes, offset, length, piecesMax);
  }

  async #readPieces(target: Uint8Array, offset: number): Promise<void> {
    const ranges: FailedRange[] = [];
    for (const piece of this.#plan(offset, target.length)) {
      if (piece.place !== 'main') {
        ranges.push({ offset: piece.offset, length: piece.length, kind: 'lost', errno: Errno.EIO });
        continue;
      }
      const start = piece.offset - offset;
      try {
        await this.below.read(target.subarray(start, start + piece.length), piece.offset);
      } catch (error) {
        ranges.push(...failedWithin(asDeviceError(error), piece.offset, piece.length));
      }
    }
    if (ranges.length > 0) throw new DeviceError(this.#name, ranges);
  }

  #refuse(offset: number, length: number): Promise<never> {
    const refusal = rejectInvalid(this, offset, length);
    const detail = 'without its spare a device is read-only';
    return refusal ?? Promise.reject(deviceError(this.#name, 'refused', offset, length, Errno.EROFS, detail));
  }
}
