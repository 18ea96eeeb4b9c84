/**
 * Messages of the handshake: bytes in, bytes out. Once a connection, so written to be read: every message is a fresh array.
 *
 *     server hello   NBDMAGIC u64 | IHAVEOPT u64 | handshake flags u16         client: flags u32
 *     option         IHAVEOPT u64 | option u32 | length u32 | data
 *     option reply   magic u64 | option u32 | type u32 | length u32 | data
 *     INFO, GO data  name length u32 | name | count u16 | count x info type u16
 *     META_CONTEXT data, LIST and SET    name length u32 | name | count u32 | count x (length u32 | query)
 */
import { hex, NbdProtocolError, readU16, readU32, readU64, writeU16, writeU32, writeU64 } from './codec.ts';
import {
  clientFlagsBytes,
  exportNamePaddingBytes,
  helloMagic,
  InfoType,
  optionHeaderBytes,
  optionMagic,
  optionReplyHeaderBytes,
  optionReplyMagic,
  serverHelloBytes,
  stringBytesMax,
} from './constants.ts';

interface Magic {
  readonly high: number;
  readonly low: number;
}

function writeMagic(bytes: Uint8Array, at: number, magic: Magic): void {
  writeU32(bytes, at, magic.high);
  writeU32(bytes, at + 4, magic.low);
}

function expectMagic(bytes: Uint8Array, at: number, magic: Magic, what: string): void {
  const high = readU32(bytes, at);
  const low = readU32(bytes, at + 4);
  if (high === magic.high && low === magic.low) return;
  throw new NbdProtocolError(
    `expected ${what} 0x${hex(magic.high)}${hex(magic.low)}, found 0x${hex(high)}${hex(low)}`,
  );
}

export function encodeServerHello(handshakeFlags: number): Uint8Array {
  const bytes = new Uint8Array(serverHelloBytes);
  writeMagic(bytes, 0, helloMagic);
  writeMagic(bytes, 8, optionMagic);
  writeU16(bytes, 16, handshakeFlags);
  return bytes;
}

/** The handshake flags. Throws `NbdProtocolError` for anything but a newstyle server. */
export function decodeServerHello(bytes: Uint8Array): number {
  expectMagic(bytes, 0, helloMagic, 'the hello of an NBD server');
  expectMagic(bytes, 8, optionMagic, 'a newstyle server');
  return readU16(bytes, 16);
}

export function encodeClientFlags(flags: number): Uint8Array {
  const bytes = new Uint8Array(clientFlagsBytes);
  writeU32(bytes, 0, flags);
  return bytes;
}

export interface OptionHeader {
  readonly option: number;
  /** Bytes of data that follow. */
  readonly length: number;
}

export function encodeOption(option: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(optionHeaderBytes + data.length);
  writeMagic(bytes, 0, optionMagic);
  writeU32(bytes, 8, option);
  writeU32(bytes, 12, data.length);
  bytes.set(data, optionHeaderBytes);
  return bytes;
}

/** Throws `NbdProtocolError` on a wrong magic. */
export function decodeOptionHeader(bytes: Uint8Array): OptionHeader {
  expectMagic(bytes, 0, optionMagic, 'the option magic');
  return { option: readU32(bytes, 8), length: readU32(bytes, 12) };
}

export interface OptionReplyHeader {
  readonly option: number;
  readonly type: number;
  /** Bytes of data that follow. */
  readonly length: number;
}

export function encodeOptionReply(option: number, type: number, data?: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(optionReplyHeaderBytes + (data?.length ?? 0));
  writeMagic(bytes, 0, optionReplyMagic);
  writeU32(bytes, 8, option);
  writeU32(bytes, 12, type);
  writeU32(bytes, 16, data?.length ?? 0);
  if (data !== undefined) bytes.set(data, optionReplyHeaderBytes);
  return bytes;
}

/** Throws `NbdProtocolError` on a wrong magic. */
export function decodeOptionReplyHeader(bytes: Uint8Array): OptionReplyHeader {
  expectMagic(bytes, 0, optionReplyMagic, 'the option reply magic');
  return { option: readU32(bytes, 8), type: readU32(bytes, 12), length: readU32(bytes, 16) };
}

export interface InfoRequest {
  readonly exportName: Uint8Array;
  readonly infoTypes: readonly number[];
}

/** Data of INFO and GO. */
export function encodeInfoRequest(request: InfoRequest): Uint8Array {
  const { exportName, infoTypes } = request;
  const bytes = new Uint8Array(4 + exportName.length + 2 + 2 * infoTypes.length);
  writeU32(bytes, 0, exportName.length);
  bytes.set(exportName, 4);
  const countAt = 4 + exportName.length;
  writeU16(bytes, countAt, infoTypes.length);
  infoTypes.forEach((type, index) => {
    writeU16(bytes, countAt + 2 + 2 * index, type);
  });
  return bytes;
}

/** Undefined when the lengths inside do not add up to the length of the data. `exportName` is a view of `data`. */
export function decodeInfoRequest(data: Uint8Array): InfoRequest | undefined {
  if (data.length < 6) return undefined;
  const nameLength = readU32(data, 0);
  if (nameLength > data.length - 6) return undefined;
  const countAt = 4 + nameLength;
  const count = readU16(data, countAt);
  if (countAt + 2 + 2 * count !== data.length) return undefined;
  const infoTypes = Array.from({ length: count }, (_, index) => readU16(data, countAt + 2 + 2 * index));
  return { exportName: data.subarray(4, countAt), infoTypes };
}

export interface MetaContextRequest {
  readonly exportName: Uint8Array;
  readonly queries: readonly string[];
}

/** Data of LIST_META_CONTEXT and SET_META_CONTEXT. */
export function encodeMetaContextRequest(exportName: Uint8Array, queries: readonly string[]): Uint8Array {
  const texts = queries.map((query) => new TextEncoder().encode(query));
  const bytes = new Uint8Array(8 + exportName.length + texts.reduce((sum, text) => sum + 4 + text.length, 0));
  writeU32(bytes, 0, exportName.length);
  bytes.set(exportName, 4);
  let at = 4 + exportName.length;
  writeU32(bytes, at, texts.length);
  at += 4;
  for (const text of texts) {
    writeU32(bytes, at, text.length);
    bytes.set(text, at + 4);
    at += 4 + text.length;
  }
  return bytes;
}

/**
 * Undefined when the lengths inside do not add up to the length of the data, or a string is longer than strings are.
 * `exportName` is a view of `data`.
 */
export function decodeMetaContextRequest(data: Uint8Array): MetaContextRequest | undefined {
  const strings: Uint8Array[] = [];
  let at = 0;
  const takeString = (): boolean => {
    const length = data.length - at < 4 ? stringBytesMax + 1 : readU32(data, at);
    if (length > stringBytesMax || length > data.length - at - 4) return false;
    strings.push(data.subarray(at + 4, at + 4 + length));
    at += 4 + length;
    return true;
  };
  if (!takeString() || data.length - at < 4) return undefined;
  const count = readU32(data, at);
  at += 4;
  // A string has a length of four bytes at least, so a count that is too large ends soon.
  for (let index = 0; index < count; index += 1) if (!takeString()) return undefined;
  if (at !== data.length) return undefined;
  const [exportName, ...queries] = strings;
  return { exportName: exportName!, queries: queries.map((query) => new TextDecoder().decode(query)) };
}

/** Data of a META_CONTEXT reply: id u32, name to the end. */
export function encodeMetaContext(id: number, name: string): Uint8Array {
  const text = new TextEncoder().encode(name);
  const bytes = new Uint8Array(4 + text.length);
  writeU32(bytes, 0, id);
  bytes.set(text, 4);
  return bytes;
}

/** Throws `NbdProtocolError` when there is no id. */
export function decodeMetaContext(data: Uint8Array): { readonly id: number; readonly name: string } {
  if (data.length < 4) throw new NbdProtocolError(`META_CONTEXT has ${data.length} bytes, expected an id`);
  return { id: readU32(data, 0), name: new TextDecoder().decode(data.subarray(4)) };
}

/** Size and flags of an export, as INFO_EXPORT and EXPORT_NAME tell them. */
export interface ExportInfo {
  readonly sizeBytes: number;
  readonly transmissionFlags: number;
}

/** Block sizes, bytes, as INFO_BLOCK_SIZE tells them. */
export interface BlockSizeInfo {
  readonly minimumBytes: number;
  readonly preferredBytes: number;
  /** Of one payload. */
  readonly maximumBytes: number;
}

/** Data of an INFO reply: type u16 0, size u64, transmission flags u16. */
export function encodeInfoExport(info: ExportInfo): Uint8Array {
  const bytes = new Uint8Array(12);
  writeU16(bytes, 0, InfoType.export);
  writeU64(bytes, 2, info.sizeBytes);
  writeU16(bytes, 10, info.transmissionFlags);
  return bytes;
}

/** Throws `NbdProtocolError` for a wrong length, and for a size above 2^53 - 1. */
export function decodeInfoExport(data: Uint8Array): ExportInfo {
  if (data.length !== 12) throw new NbdProtocolError(`INFO_EXPORT has ${data.length} bytes, expected 12`);
  return { sizeBytes: checkedSize(readU64(data, 2)), transmissionFlags: readU16(data, 10) };
}

/** Data of an INFO reply: type u16 3, minimum u32, preferred u32, maximum u32. */
export function encodeInfoBlockSize(info: BlockSizeInfo): Uint8Array {
  const bytes = new Uint8Array(14);
  writeU16(bytes, 0, InfoType.blockSize);
  writeU32(bytes, 2, info.minimumBytes);
  writeU32(bytes, 6, info.preferredBytes);
  writeU32(bytes, 10, info.maximumBytes);
  return bytes;
}

/** Throws `NbdProtocolError` for a wrong length. */
export function decodeInfoBlockSize(data: Uint8Array): BlockSizeInfo {
  if (data.length !== 14) throw new NbdProtocolError(`INFO_BLOCK_SIZE has ${data.length} bytes, expected 14`);
  return {
    minimumBytes: readU32(data, 2),
    preferredBytes: readU32(data, 6),
    maximumBytes: readU32(data, 10),
  };
}

/** Data of an INFO reply of type NAME or DESCRIPTION: type u16, text to the end. */
export function encodeInfoText(type: number, text: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(2 + text.length);
  writeU16(bytes, 0, type);
  bytes.set(text, 2);
  return bytes;
}

/** Data of a SERVER reply: name length u32, name, then a description to the end. */
export function encodeServerName(exportName: Uint8Array, description: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + exportName.length + description.length);
  writeU32(bytes, 0, exportName.length);
  bytes.set(exportName, 4);
  bytes.set(description, 4 + exportName.length);
  return bytes;
}

/** The whole answer to EXPORT_NAME: size u64, transmission flags u16, 124 zeros unless NO_ZEROES. */
export function encodeExportNameAnswer(info: ExportInfo, noZeroes: boolean): Uint8Array {
  const bytes = new Uint8Array(10 + (noZeroes ? 0 : exportNamePaddingBytes));
  writeU64(bytes, 0, info.sizeBytes);
  writeU16(bytes, 8, info.transmissionFlags);
  return bytes;
}

function checkedSize(sizeBytes: number): number {
  if (Number.isSafeInteger(sizeBytes)) return sizeBytes;
  throw new NbdProtocolError(
    `the export has ${sizeBytes} bytes, at most ${Number.MAX_SAFE_INTEGER} can be used`,
  );
}
