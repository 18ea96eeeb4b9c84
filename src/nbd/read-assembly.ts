import type { ByteRange } from './byte-range.ts';
import { NbdProtocolError } from './codec.ts';

/** A part of a read that the server could not give. */
export interface RemoteFailure {
  readonly offset: number;
  readonly length: number;
  /** From the wire. */
  readonly errno: number;
}

/** Ranges and errors of one reply that are kept apart. A server that sends more makes no sense. */
export const assembledPiecesMax = 4096;

/**
 * What has come of the structured reply to one read. "As long as all errors are accompanied by offsets, the client MAY assume
 * that any data chunks with no subsequent error offset are valid, that chunks with an overlapping error offset errors are
 * valid up until the reported offset, and that portions of the read that do not have a corresponding content chunk are not
 * valid."
 */
export class ReadAssembly {
  readonly #offset: number;
  readonly #end: number;
  readonly #delivered: ByteRange[] = [];
  readonly #errors: { readonly offset: number; readonly errno: number }[] = [];

  constructor(offset: number, length: number) {
    this.#offset = offset;
    this.#end = offset + length;
  }

  /** Data or a hole. Throws `NbdProtocolError` for bytes that were not asked for, or that came before. */
  addContent(offset: number, length: number): void {
    const end = offset + length;
    if (length === 0 || offset < this.#offset || end > this.#end) {
      throw new NbdProtocolError(`a chunk of ${length} bytes at ${offset}, which were not asked for`);
    }
    for (const range of this.#delivered) {
      if (offset < range.end && end > range.offset) {
        throw new NbdProtocolError(`two chunks with the bytes at ${Math.max(offset, range.offset)}`);
      }
    }
    this.#checkCount(this.#delivered.push({ offset, end }));
  }

  /** Throws `NbdProtocolError` for a place that was not asked for. */
  addError(offset: number, errno: number): void {
    if (offset < this.#offset || offset >= this.#end) {
      throw new NbdProtocolError(`an error at ${offset}, which was not asked for`);
    }
    this.#checkCount(this.#errors.push({ offset, errno }));
  }

  /** What is missing, ascending; nothing when all has come. Throws `NbdProtocolError` for a success without all bytes. */
  failures(): RemoteFailure[] {
    const errors = this.#errors.toSorted((a, b) => a.offset - b.offset);
    const failures: RemoteFailure[] = [];
    let at = this.#offset;
    const missing = (to: number): void => {
      if (to <= at) return;
      const error = errors.find(({ offset }) => offset >= at && offset < to) ?? errors[0];
      if (error === undefined) throw new NbdProtocolError(`a good reply without the bytes at ${at}`);
      failures.push({ offset: at, length: to - at, errno: error.errno });
    };
    for (const { offset, end } of this.#delivered.toSorted((a, b) => a.offset - b.offset)) {
      const error = errors.find((one) => one.offset >= offset && one.offset < end);
      const goodEnd = error?.offset ?? end;
      if (goodEnd === offset) continue;
      missing(offset);
      at = goodEnd;
    }
    missing(this.#end);
    return failures;
  }

  #checkCount(count: number): void {
    if (count > assembledPiecesMax) {
      throw new NbdProtocolError(`more than ${assembledPiecesMax} pieces of one reply`);
    }
  }
}
