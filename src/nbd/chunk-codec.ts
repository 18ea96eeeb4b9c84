/**
 * Chunks of structured replies: bytes in, bytes out.
 *
 *     chunk         magic u32 | flags u16 | type u16 | cookie u64 | length u32    20 bytes, then `length` bytes of payload
 *     OFFSET_DATA   offset u64 | data
 *     OFFSET_HOLE   offset u64 | bytes u32
 *     BLOCK_STATUS  context u32 | descriptors: bytes u32 | flags u32
 *     ERROR         error u32 | message length u16 | message
 *     ERROR_OFFSET  error u32 | message length u16 | message | offset u64
 */
import { writeU16, writeU32, writeU64 } from './codec.ts';
import { ChunkType, chunkHeaderBytes, structuredReplyMagic } from './constants.ts';

/** The request that a chunk answers; `ClientRequest` is one. */
export interface Cookie {
  readonly cookieHigh: number;
  readonly cookieLow: number;
}

/** Bytes of an ERROR without a message. */
export const errorChunkBytes: number = chunkHeaderBytes + 6;

/** Bytes of a BLOCK_STATUS before its descriptors, and of one of those. */
export const statusChunkBytes: number = chunkHeaderBytes + 4;
export const descriptorBytes = 8;

/** Writes the 20 bytes before a payload of `length` bytes. `flags` are those of `ChunkFlag`. */
export function encodeChunkHeader(
  bytes: Uint8Array,
  at: number,
  flags: number,
  type: number,
  cookie: Cookie,
  length: number,
): void {
  writeU32(bytes, at, structuredReplyMagic);
  writeU16(bytes, at + 4, flags);
  writeU16(bytes, at + 6, type);
  writeU32(bytes, at + 8, cookie.cookieHigh);
  writeU32(bytes, at + 12, cookie.cookieLow);
  writeU32(bytes, at + 16, length);
}

/** Writes the 28 bytes that go before `length` bytes of data from `offset`. */
export function encodeDataChunk(
  bytes: Uint8Array,
  at: number,
  flags: number,
  cookie: Cookie,
  offset: number,
  length: number,
): void {
  encodeChunkHeader(bytes, at, flags, ChunkType.offsetData, cookie, 8 + length);
  writeU64(bytes, at + chunkHeaderBytes, offset);
}

/** Writes the 26 bytes of an ERROR without a message. */
export function encodeErrorChunk(
  bytes: Uint8Array,
  at: number,
  flags: number,
  cookie: Cookie,
  errno: number,
): void {
  encodeChunkHeader(bytes, at, flags, ChunkType.error, cookie, 6);
  writeU32(bytes, at + chunkHeaderBytes, errno);
  writeU16(bytes, at + chunkHeaderBytes + 4, 0);
}

/** Bytes of an ERROR_OFFSET with such a message. */
export function errorOffsetChunkBytes(message: Uint8Array): number {
  return chunkHeaderBytes + 14 + message.length;
}

/** Writes the whole of an ERROR_OFFSET. */
export function encodeErrorOffsetChunk(
  bytes: Uint8Array,
  at: number,
  flags: number,
  cookie: Cookie,
  error: { readonly errno: number; readonly offset: number; readonly message: Uint8Array },
): void {
  const { errno, offset, message } = error;
  const payload = at + chunkHeaderBytes;
  encodeChunkHeader(bytes, at, flags, ChunkType.errorOffset, cookie, 14 + message.length);
  writeU32(bytes, payload, errno);
  writeU16(bytes, payload + 4, message.length);
  bytes.set(message, payload + 6);
  writeU64(bytes, payload + 6 + message.length, offset);
}

/** Writes the 24 bytes that go before the descriptors of one context. */
export function encodeStatusChunk(
  bytes: Uint8Array,
  at: number,
  flags: number,
  cookie: Cookie,
  contextId: number,
  descriptorCount: number,
): void {
  encodeChunkHeader(bytes, at, flags, ChunkType.blockStatus, cookie, 4 + descriptorBytes * descriptorCount);
  writeU32(bytes, at + chunkHeaderBytes, contextId);
}
