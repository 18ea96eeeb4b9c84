/**
 * Messages of the transmission phase: bytes in, bytes out. No stream, no session, no buffers of its own.
 *
 *     request       magic u32 | flags u16 | command u16 | cookie u64 | offset u64 | length u32   28 bytes, then a
 *                                                                                write's payload of `length` bytes
 *     simple reply  magic u32 | error u32 | cookie u64                           16 bytes, then a good read's payload
 *
 * All numbers are big-endian. A decoder is one object whose fields the next message overwrites: nothing is allocated
 * for a message. Cookies are two signed halves (a small integer each, never a boxed number). A decoder that met
 * malformed bytes is poisoned: there is no finding the next message in a binary stream.
 */
import {
  chunkHeaderBytes,
  requestBytes,
  requestMagic,
  simpleReplyBytes,
  simpleReplyMagic,
  structuredReplyMagic,
} from './constants.ts';

/** The peer broke the protocol; ends the connection, never the process. */
export class NbdProtocolError extends Error {
  override readonly name = 'NbdProtocolError';
}

/** The unsigned 32-bit number at `at`. */
export function readU32(bytes: Uint8Array, at: number): number {
  return readI32(bytes, at) >>> 0;
}

export function readU16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

/** The unsigned 64-bit number at `at`: exact to 2^53 - 1, above that rounded, and still above every valid size. */
export function readU64(bytes: Uint8Array, at: number): number {
  return readU32(bytes, at) * 0x1_0000_0000 + readU32(bytes, at + 4);
}

export function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** `value` is a whole number of at most 2^53 - 1. */
export function writeU64(bytes: Uint8Array, at: number, value: number): void {
  writeU32(bytes, at, Math.floor(value / 0x1_0000_0000));
  writeU32(bytes, at + 4, value >>> 0);
}

function readI32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

/** Reads request headers; a write's payload is the caller's to consume. */
export class RequestDecoder {
  flags = 0;
  command = 0;
  cookieHigh = 0;
  cookieLow = 0;
  /** Bytes. */
  offset = 0;
  /** Bytes. */
  length = 0;
  #failed = false;

  /**
   * Decodes the header at `at`; false when `end` comes before the header's. Throws `NbdProtocolError` on a wrong magic,
   * and on every later call.
   */
  decode(bytes: Uint8Array, at: number, end: number): boolean {
    if (this.#failed)
      throw new NbdProtocolError('the stream of requests is out of step since an earlier error');
    if (end - at < requestBytes) return false;
    const magic = readU32(bytes, at);
    if (magic !== requestMagic) {
      this.#failed = true;
      throw new NbdProtocolError(`expected the request magic 0x25609513, found 0x${hex(magic)}`);
    }
    this.flags = readU16(bytes, at + 4);
    this.command = readU16(bytes, at + 6);
    this.cookieHigh = readI32(bytes, at + 8);
    this.cookieLow = readI32(bytes, at + 12);
    this.offset = readU64(bytes, at + 16);
    this.length = readU32(bytes, at + 24);
    return true;
  }
}

/** Reads headers of replies: simple ones, and chunks where they were agreed on. The payload is the caller's to consume. */
export class ReplyDecoder {
  /** Of a simple reply. */
  errno = 0;
  cookieHigh = 0;
  cookieLow = 0;
  isChunk = false;
  /** Of a chunk, as are those below. */
  flags = 0;
  type = 0;
  /** Bytes of payload. */
  length = 0;
  readonly #structured: boolean;
  #failed = false;

  constructor(structured: boolean = false) {
    this.#structured = structured;
  }

  /** Bytes of the header that was decoded last. */
  get headerBytes(): number {
    return this.isChunk ? chunkHeaderBytes : simpleReplyBytes;
  }

  /** As `RequestDecoder.decode`. */
  decode(bytes: Uint8Array, at: number, end: number): boolean {
    if (this.#failed)
      throw new NbdProtocolError('the stream of replies is out of step since an earlier error');
    if (end - at < simpleReplyBytes) return false;
    const magic = readU32(bytes, at);
    this.isChunk = this.#structured && magic === structuredReplyMagic;
    if (!this.isChunk && magic !== simpleReplyMagic) {
      this.#failed = true;
      throw new NbdProtocolError(`expected the reply magic 0x67446698, found 0x${hex(magic)}`);
    }
    if (end - at < this.headerBytes) return false;
    this.errno = this.isChunk ? 0 : readU32(bytes, at + 4);
    this.flags = this.isChunk ? readU16(bytes, at + 4) : 0;
    this.type = this.isChunk ? readU16(bytes, at + 6) : 0;
    this.cookieHigh = readI32(bytes, at + 8);
    this.cookieLow = readI32(bytes, at + 12);
    this.length = this.isChunk ? readU32(bytes, at + 16) : 0;
    return true;
  }
}

/** Writes the 28 bytes of a request header at `at`. */
export function encodeRequest(
  bytes: Uint8Array,
  at: number,
  flags: number,
  command: number,
  cookieHigh: number,
  cookieLow: number,
  offset: number,
  length: number,
): void {
  writeU32(bytes, at, requestMagic);
  writeU16(bytes, at + 4, flags);
  writeU16(bytes, at + 6, command);
  writeU32(bytes, at + 8, cookieHigh);
  writeU32(bytes, at + 12, cookieLow);
  writeU64(bytes, at + 16, offset);
  writeU32(bytes, at + 24, length);
}

/** Writes the 16 bytes of a simple reply header at `at`. */
export function encodeSimpleReply(
  bytes: Uint8Array,
  at: number,
  errno: number,
  cookieHigh: number,
  cookieLow: number,
): void {
  writeU32(bytes, at, simpleReplyMagic);
  writeU32(bytes, at + 4, errno);
  writeU32(bytes, at + 8, cookieHigh);
  writeU32(bytes, at + 12, cookieLow);
}

/** Eight digits. */
export function hex(value: number): string {
  return value.toString(16).padStart(8, '0');
}
