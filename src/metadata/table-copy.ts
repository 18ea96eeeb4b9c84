import { crc32c } from '@node-rs/crc32';
import { assert } from '../block/assert.ts';
import { type GranuleRecord, type MappingRecord, noSlot, StateCause } from './mapping-state.ts';
import { fitsGranule } from './record-codec.ts';
import { isTableCopyHeader, type TableCopyHeader } from './table-copy-header.ts';
import { readSigned, readVarint, writeSigned, writeVarint } from './varint.ts';

/**
 * A copy of the table beside the spare, for the day when the spare is gone (M13). A stream of pieces, so that it is written
 * in slices and never all in memory at once:
 *
 *     dmRMtabl | piece … | end piece        piece: length u32, CRC-32C u32, that many bytes; the end piece has 0 bytes
 *
 * The first piece is the header as JSON, the last but one a count of records as a varint. In between: records, each a byte
 * of its type and of what it has, then variable-length numbers, places as distances from where the record before ended:
 * about 10 bytes for a run of granules instead of 48 (measured: 10.4 over 100 000 random granules).
 */
const magic = new TextEncoder().encode('dmRMtabl');
const pieceHeadBytes = 8;
/** Records in one piece: encoding 512 takes well under a millisecond, so that no request waits for it. */
export const recordsPerPiece = 512;
/** A record's most: a byte each of type and cause, eight numbers of at most 8 bytes. */
const recordBytesMax = 72;

const RecordKind = { granules: 1, retiredSlots: 2, freshEnded: 3 } as const;
const hasSlotBit = 8;
const kindMask = 7;
/**
 * Granules, slots and regions that all records of a copy name together; a copy with more is none of ours: so many bad granules
 * of 4 KiB are 64 GiB, and their table takes 650 MB.
 */
export const tableCopyEntriesMax: number = 2 ** 24;
const lastCause: number = Math.max(...Object.values(StateCause));

/** Where the record before ended: what the next one's places are counted from. */
interface Position {
  granule: number;
  slot: number;
  region: number;
  unixSeconds: number;
}

function startPosition(): Position {
  return { granule: 0, slot: 0, region: 0, unixSeconds: 0 };
}

/** Makes the pieces of a copy, in order: `begin`, any number of `records`, `end`. */
export class TableCopyEncoder {
  readonly #position: Position = startPosition();
  #recordCount = 0;

  begin(header: TableCopyHeader): Uint8Array {
    const text = new TextEncoder().encode(JSON.stringify(header));
    const head = piece(text);
    const bytes = new Uint8Array(magic.length + head.length);
    bytes.set(magic);
    bytes.set(head, magic.length);
    return bytes;
  }

  records(records: readonly MappingRecord[]): Uint8Array {
    assert(records.length > 0 && records.length <= recordsPerPiece, 'a piece has 1 to 512 records');
    const bytes = new Uint8Array(records.length * recordBytesMax);
    let at = 0;
    for (const record of records) at = encodeRecord(bytes, at, record, this.#position);
    this.#recordCount += records.length;
    return piece(bytes.subarray(0, at));
  }

  end(): Uint8Array {
    const count = new Uint8Array(8);
    const length = writeVarint(count, 0, this.#recordCount);
    const last = piece(count.subarray(0, length));
    const bytes = new Uint8Array(last.length + pieceHeadBytes);
    bytes.set(last);
    return bytes;
  }
}

function piece(payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(pieceHeadBytes + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, payload.length, true);
  view.setUint32(4, crc32c(payload), true);
  bytes.set(payload, pieceHeadBytes);
  return bytes;
}

function encodeRecord(bytes: Uint8Array, start: number, record: MappingRecord, position: Position): number {
  let at = start;
  switch (record.type) {
    case 'retired-slots':
      bytes[at] = RecordKind.retiredSlots;
      at = writeSigned(bytes, at + 1, record.slot - position.slot);
      position.slot = record.slot + record.slotCount;
      return writeVarint(bytes, at, record.slotCount);
    case 'fresh-ended':
      bytes[at] = RecordKind.freshEnded;
      at = writeSigned(bytes, at + 1, record.region - position.region);
      position.region = record.region + record.regionCount;
      return writeVarint(bytes, at, record.regionCount);
    case 'granules':
      return encodeGranules(bytes, at, record, position);
  }
}

function encodeGranules(bytes: Uint8Array, start: number, record: GranuleRecord, position: Position): number {
  const hasSlot = record.slot !== noSlot;
  bytes[start] = RecordKind.granules | (hasSlot ? hasSlotBit : 0);
  bytes[start + 1] = record.cause;
  let at = writeSigned(bytes, start + 2, record.granule - position.granule);
  at = writeVarint(bytes, at, record.granuleCount);
  if (hasSlot) at = writeSigned(bytes, at, record.slot - position.slot);
  at = writeVarint(bytes, at, record.held);
  at = writeVarint(bytes, at, record.unreadable);
  at = writeVarint(bytes, at, record.gone);
  at = writeVarint(bytes, at, record.flags);
  at = writeSigned(bytes, at, record.unixSeconds - position.unixSeconds);
  position.granule = record.granule + record.granuleCount;
  if (hasSlot) position.slot = record.slot + record.granuleCount;
  position.unixSeconds = record.unixSeconds;
  return at;
}

export interface TableCopy {
  readonly header: TableCopyHeader;
  readonly records: readonly MappingRecord[];
}

/** The copy, or one clause about what is wrong with it: nothing of a damaged one is used. */
export function decodeTableCopy(bytes: Uint8Array): TableCopy | string {
  const pieces = splitPieces(bytes);
  if (typeof pieces === 'string') return pieces;
  const header = decodeHeader(pieces[0]!);
  if (typeof header === 'string') return header;
  const records: MappingRecord[] = [];
  const position = startPosition();
  for (const payload of pieces.slice(1, -1)) {
    const wrong = decodeRecords(payload, header, position, records);
    if (wrong !== undefined) return wrong;
  }
  if (records.reduce((sum, record) => sum + entriesOf(record), 0) > tableCopyEntriesMax) {
    return `names more than ${tableCopyEntriesMax} blocks`;
  }
  const count = readVarint(pieces[pieces.length - 1]!, 0);
  if (count?.value !== records.length) return 'has not as many records as it says';
  return { header, records };
}

function entriesOf(record: MappingRecord): number {
  if (record.type === 'granules') return record.granuleCount;
  return record.type === 'retired-slots' ? record.slotCount : record.regionCount;
}

/** The header alone, from the first bytes of a copy; a clause when there is none. */
export function decodeTableCopyHeader(bytes: Uint8Array): TableCopyHeader | string {
  const first = pieceAt(bytes, magic.length);
  if (!hasMagic(bytes) || first === undefined || typeof first === 'string') return 'is no copy of a table';
  return decodeHeader(first);
}

function hasMagic(bytes: Uint8Array): boolean {
  return magic.every((byte, at) => bytes[at] === byte);
}

/** Undefined for the end piece. */
function pieceAt(bytes: Uint8Array, at: number): Uint8Array | undefined | string {
  if (at + pieceHeadBytes > bytes.length) return 'was cut short';
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, pieceHeadBytes);
  const length = view.getUint32(0, true);
  const checksum = view.getUint32(4, true);
  if (length === 0) return checksum === 0 ? undefined : 'has a wrong checksum';
  const payload = bytes.subarray(at + pieceHeadBytes, at + pieceHeadBytes + length);
  if (payload.length < length) return 'was cut short';
  return crc32c(payload) === checksum ? payload : 'has a wrong checksum';
}

function splitPieces(bytes: Uint8Array): readonly Uint8Array[] | string {
  if (!hasMagic(bytes)) return 'is no copy of a table';
  const pieces: Uint8Array[] = [];
  let at = magic.length;
  for (;;) {
    const next = pieceAt(bytes, at);
    if (typeof next === 'string') return next;
    if (next === undefined) break;
    pieces.push(next);
    at += pieceHeadBytes + next.length;
  }
  if (at + pieceHeadBytes !== bytes.length) return 'goes on behind its end';
  return pieces.length >= 2 ? pieces : 'was cut short';
}

function decodeHeader(payload: Uint8Array): TableCopyHeader | string {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(payload));
  } catch {
    return 'has a header that is no JSON';
  }
  return isTableCopyHeader(value) ? value : 'has a header of another version';
}

/** Reads numbers one after the other; `failed` once something was missing. */
class NumberReader {
  readonly #bytes: Uint8Array;
  at = 0;
  failed = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  byte(): number {
    const value = this.#bytes[this.at];
    if (value === undefined) this.failed = true;
    this.at += 1;
    return value ?? 0;
  }

  unsigned(): number {
    return this.#take(readVarint(this.#bytes, this.at));
  }

  signed(): number {
    return this.#take(readSigned(this.#bytes, this.at));
  }

  #take(read: { value: number; next: number } | undefined): number {
    if (read === undefined) {
      this.failed = true;
      return 0;
    }
    this.at = read.next;
    return read.value;
  }
}

function decodeRecords(
  payload: Uint8Array,
  header: TableCopyHeader,
  position: Position,
  records: MappingRecord[],
): string | undefined {
  const reader = new NumberReader(payload);
  while (reader.at < payload.length) {
    const record = decodeRecord(reader, position);
    if (record === undefined || reader.failed) return 'has a record that cannot be';
    if (!isPossible(record, header)) return 'has a record that cannot be';
    records.push(record);
  }
  return undefined;
}

function decodeRecord(reader: NumberReader, position: Position): MappingRecord | undefined {
  const first = reader.byte();
  const kind = first & kindMask;
  if (kind === RecordKind.retiredSlots) {
    const slot = position.slot + reader.signed();
    const slotCount = reader.unsigned();
    position.slot = slot + slotCount;
    return { type: 'retired-slots', slot, slotCount };
  }
  if (kind === RecordKind.freshEnded) {
    const region = position.region + reader.signed();
    const regionCount = reader.unsigned();
    position.region = region + regionCount;
    return { type: 'fresh-ended', region, regionCount };
  }
  return kind === RecordKind.granules
    ? decodeGranules(reader, (first & hasSlotBit) !== 0, position)
    : undefined;
}

function decodeGranules(reader: NumberReader, hasSlot: boolean, position: Position): GranuleRecord {
  const cause = reader.byte();
  const granule = position.granule + reader.signed();
  const granuleCount = reader.unsigned();
  const slot = hasSlot ? position.slot + reader.signed() : noSlot;
  const record: GranuleRecord = {
    type: 'granules',
    granule,
    granuleCount,
    slot,
    held: reader.unsigned(),
    unreadable: reader.unsigned(),
    gone: reader.unsigned(),
    flags: reader.unsigned(),
    cause: cause <= lastCause ? (cause as StateCause) : StateCause.unknown,
    unixSeconds: position.unixSeconds + reader.signed(),
  };
  position.granule = granule + granuleCount;
  if (hasSlot) position.slot = slot + granuleCount;
  position.unixSeconds = record.unixSeconds;
  return record;
}

/** The checksums are right, so a program wrote it so; still nothing outside of main is believed. */
function isPossible(record: MappingRecord, header: TableCopyHeader): boolean {
  if (record.type === 'retired-slots') return record.slot >= 0 && record.slotCount > 0;
  if (record.type === 'fresh-ended') return record.region >= 0 && record.regionCount > 0;
  const granules = Math.ceil(header.mainSizeBytes / header.granuleBytes);
  const inside =
    record.granule >= 0 && record.granuleCount > 0 && record.granule + record.granuleCount <= granules;
  if (!fitsGranule(record.held | record.unreadable | record.gone, header.granuleBytes)) return false;
  const apart =
    (record.held & record.unreadable) === 0 && ((record.held | record.unreadable) & record.gone) === 0;
  return inside && apart && (record.slot !== noSlot || record.held === 0);
}
