import type { FailedRange } from '../block/device-error.ts';
import { encodeDataChunk, encodeErrorOffsetChunk, errorOffsetChunkBytes } from './chunk-codec.ts';
import type { ClientRequest } from './client-request.ts';
import { ChunkFlag, CommandFlag, dataChunkBytes } from './constants.ts';
import { wireErrorOfKind } from './wire-error.ts';

/**
 * Failed ranges that one reply tells apart: what lies behind the last one is not delivered. 256 sectors, every second one of
 * the 256 KiB that nbdcopy asks for.
 */
export const failedRangesToldMax = 256;

/**
 * The reply to a read of which some ranges failed: what is good as data, what is not as the place where it begins. Only bytes
 * outside every failed range are sent: those are all that the device filled (`BlockDevice.read`).
 *
 * "As long as all errors are accompanied by offsets, the client MAY assume that any data chunks with no subsequent error
 * offset are valid [...] and that portions of the read that do not have a corresponding content chunk are not valid."
 */
export function failedReadReply(
  request: ClientRequest,
  piece: Uint8Array,
  failed: readonly FailedRange[],
): Uint8Array[] {
  const end = request.offset + request.length;
  // "If this flag is set, the server MUST send at most one content chunk": what is good before the first error.
  const inOnePiece = (request.flags & CommandFlag.df) !== 0;
  const told = inOnePiece ? [firstToEnd(failed, end)] : rangesToTell(failed, end);
  const messages = told.map(messageOf);
  const headerBytes = messages.reduce(
    (sum, message) => sum + dataChunkBytes + errorOffsetChunkBytes(message),
    dataChunkBytes,
  );
  const headers = new Uint8Array(headerBytes);
  const parts: Uint8Array[] = [];
  let runStart = 0;
  let headerAt = 0;
  let goodFrom = request.offset;
  const addGood = (goodTo: number, flags: number): void => {
    if (goodTo <= goodFrom) return;
    encodeDataChunk(headers, headerAt, flags, request, goodFrom, goodTo - goodFrom);
    headerAt += dataChunkBytes;
    parts.push(headers.subarray(runStart, headerAt));
    parts.push(piece.subarray(goodFrom - request.offset, goodTo - request.offset));
    runStart = headerAt;
  };
  for (const [index, range] of told.entries()) {
    addGood(range.offset, 0);
    goodFrom = range.offset + range.length;
    const flags = index === told.length - 1 && goodFrom >= end ? ChunkFlag.done : 0;
    const message = messages[index]!;
    const error = { errno: wireErrorOfKind(range.kind), offset: range.offset, message };
    encodeErrorOffsetChunk(headers, headerAt, flags, request, error);
    headerAt += errorOffsetChunkBytes(message);
  }
  addGood(end, ChunkFlag.done);
  if (runStart < headerAt) parts.push(headers.subarray(runStart, headerAt));
  return parts;
}

function firstToEnd(failed: readonly FailedRange[], end: number): FailedRange {
  const first = failed.reduce((least, range) => (range.offset < least.offset ? range : least));
  return { ...first, length: end - first.offset };
}

/** Ascending and apart from each other; the last one of `failedRangesToldMax` stands for all that is left. */
function rangesToTell(failed: readonly FailedRange[], end: number): FailedRange[] {
  const told: FailedRange[] = [];
  for (const range of failed.toSorted((a, b) => a.offset - b.offset)) {
    const last = told.at(-1);
    const lastEnd = last === undefined ? 0 : last.offset + last.length;
    const rangeEnd = range.offset + range.length;
    if (
      last !== undefined &&
      (range.offset < lastEnd || (range.offset === lastEnd && range.kind === last.kind))
    ) {
      told[told.length - 1] = { ...last, length: Math.max(lastEnd, rangeEnd) - last.offset };
    } else if (told.length < failedRangesToldMax) {
      told.push(range);
    } else {
      told[told.length - 1] = { ...last!, length: end - last!.offset };
      break;
    }
  }
  return told;
}

/** For people: ERROR_OFFSET has no place for the length of what failed. */
function messageOf(range: FailedRange): Uint8Array {
  return new TextEncoder().encode(`${range.length} bytes: ${range.kind}`);
}
