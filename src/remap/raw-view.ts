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
import { RequestGate } from '../block/request-gate.ts';
import type { RemapCore } from './remap-core.ts';
import { type ByteRange, unitsOf } from './request/request-rounds.ts';
import { runsOf, sectorMask } from './table/sector-mask.ts';

/** A part of a read: main's to answer, or nobody's. Bytes. */
interface RawPiece extends ByteRange {
  readonly onMain: boolean;
}

/**
 * Main as it is, beside the device that it carries (R29): read-only, for other rescue tools. What main has is stale where the
 * newest bytes are on the spare or gone, so that is an error. Nothing is repaired, moved or marked.
 */
export class RawView implements BlockDevice {
  readonly name: string;
  readonly geometry: Geometry;
  readonly capabilities: Capabilities;
  readonly #core: RemapCore;
  readonly #gate = new RequestGate();

  constructor(name: string, geometry: Geometry, core: RemapCore) {
    this.name = name;
    this.geometry = geometry;
    this.capabilities = {
      write: false,
      flush: true,
      fua: false,
      discard: false,
      writeZeroes: false,
      fastZeroes: false,
      rotational: core.parts.main.capabilities.rotational,
    };
    this.#core = core;
  }

  async read(target: Uint8Array, offset: number): Promise<void> {
    const refusal = this.#refusal(offset, target.length);
    if (refusal !== undefined) await refusal;
    this.#gate.enter();
    try {
      await this.#read(target, offset);
    } finally {
      this.#gate.leave();
    }
  }

  write(source: Uint8Array, offset: number): Promise<void> {
    return this.#refuseChange(offset, source.length);
  }

  flush(): Promise<void> {
    return this.#gate.closed ? this.#rejectClosed(0, 0) : Promise.resolve();
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#refuseChange(offset, length);
  }

  writeZeroes(offset: number, length: number): Promise<void> {
    return this.#refuseChange(offset, length);
  }

  /** Never a hole: who copies main wants to hear of its errors. */
  extents(offset: number, length: number): Promise<readonly Extent[]> {
    return this.#refusal(offset, length) ?? Promise.resolve([{ length, state: 'data' }]);
  }

  /** Main stays open. */
  close(): Promise<void> {
    return this.#gate.close();
  }

  async #read(target: Uint8Array, offset: number): Promise<void> {
    const { inFlight, locks, parts } = this.#core;
    const first = Math.floor(offset / parts.granuleBytes);
    const last = Math.floor((offset + target.length - 1) / parts.granuleBytes);
    while (locks.blocked(first, last)) await locks.whenUnblocked(first, last);
    // From the plan to the ticket nothing is awaited: a move that begins later waits for this ticket (R1).
    const pieces = this.#pieces({ offset, length: target.length });
    const ticket = inFlight.begin(first, last);
    try {
      const failed = await Promise.all(pieces.map((piece) => this.#readPiece(piece, target, offset)));
      const ranges = failed.flat();
      if (ranges.length > 0) throw new DeviceError(this.name, ranges);
    } finally {
      inFlight.end(ticket);
    }
  }

  async #readPiece(piece: RawPiece, target: Uint8Array, start: number): Promise<readonly FailedRange[]> {
    const { offset, length } = piece;
    if (!piece.onMain) return [{ offset, length, kind: 'lost', errno: Errno.EIO }];
    try {
      await this.#core.parts.main.read(target.subarray(offset - start, offset - start + length), offset);
      return [];
    } catch (error) {
      return failedWithin(asDeviceError(error), offset, length);
    }
  }

  /** Ascending; neighbours of one kind are one piece. */
  #pieces(range: ByteRange): RawPiece[] {
    const { specials, parts } = this.#core;
    const { granuleBytes } = parts;
    const first = Math.floor(range.offset / granuleBytes);
    const last = Math.floor((range.offset + range.length - 1) / granuleBytes);
    if (specials.none(first, last)) return [{ ...range, onMain: true }];
    const pieces: RawPiece[] = [];
    for (const unit of unitsOf(range, granuleBytes)) {
      const granule = Math.floor(unit.offset / granuleBytes);
      const start = granule * granuleBytes;
      const { held, gone } = this.#core.stateOf(granule);
      const mask = sectorMask(unit.offset - start, unit.offset + unit.length - start);
      const away = runsOf(mask & (held | gone)).map((run) => ({ ...run, onMain: false }));
      const onMain = runsOf(mask & ~(held | gone)).map((run) => ({ ...run, onMain: true }));
      for (const run of [...away, ...onMain].toSorted((a, b) => a.from - b.from)) {
        append(pieces, { offset: start + run.from, length: run.to - run.from, onMain: run.onMain });
      }
    }
    return pieces;
  }

  #refusal(offset: number, length: number): Promise<never> | undefined {
    return this.#gate.closed ? this.#rejectClosed(offset, length) : rejectInvalid(this, offset, length);
  }

  #refuseChange(offset: number, length: number): Promise<never> {
    return (
      this.#refusal(offset, length) ??
      Promise.reject(
        deviceError(this.name, 'refused', offset, length, Errno.EROFS, 'a raw view is read-only'),
      )
    );
  }

  #rejectClosed(offset: number, length: number): Promise<never> {
    return Promise.reject(deviceError(this.name, 'closed', offset, length, Errno.ESHUTDOWN));
  }
}

function append(pieces: RawPiece[], piece: RawPiece): void {
  const last = pieces.at(-1);
  if (last?.onMain === piece.onMain)
    pieces[pieces.length - 1] = { ...last, length: last.length + piece.length };
  else pieces.push(piece);
}
