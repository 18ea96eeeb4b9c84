import { crc32c } from '@node-rs/crc32';
import { assert } from '../block/assert.ts';
import { blockBytes } from './block-size.ts';

/**
 * What all blocks have in common, in every version of the format, so that an old program can tell a newer block from a
 * damaged one: magic (8 bytes), CRC-32C at 8, format version at 12, device UUID at 16. The CRC runs over the UUID (its seed:
 * a block of another device does not pass, M6) and then over everything behind the CRC itself. The magic is compared.
 */
export const magicBytes = 8;
const checksumAt = 8;
const checkedFrom = 12;
export const versionAt = 12;
export const uuidAt = 16;
export const uuidBytes = 16;
export const formatVersion = 1;

/** One block of a larger buffer. */
export function viewOf(block: Uint8Array): DataView {
  return new DataView(block.buffer, block.byteOffset, block.byteLength);
}

/** Writes the checksum, last of all; returns it. */
export function sealBlock(block: Uint8Array): number {
  assert(block.byteLength === blockBytes, 'a block has 4096 bytes');
  const checksum = blockChecksum(block);
  viewOf(block).setUint32(checksumAt, checksum, true);
  return checksum;
}

/** True when magic and checksum are right. */
export function isSealed(block: Uint8Array, magic: Uint8Array): boolean {
  return hasMagic(block, magic) && viewOf(block).getUint32(checksumAt, true) === blockChecksum(block);
}

export function hasMagic(block: Uint8Array, magic: Uint8Array): boolean {
  for (let at = 0; at < magicBytes; at += 1) if (block[at] !== magic[at]) return false;
  return true;
}

/** The checksum a sealed block carries. */
export function checksumOf(block: Uint8Array): number {
  return viewOf(block).getUint32(checksumAt, true);
}

function blockChecksum(block: Uint8Array): number {
  return crc32c(block.subarray(checkedFrom), crc32c(block.subarray(uuidAt, uuidAt + uuidBytes)));
}

/** Eight ASCII characters as bytes. */
export function magic(text: string): Uint8Array {
  assert(text.length === magicBytes, 'a magic has eight characters');
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** One memcmp: a loop over 4096 bytes was a sixth of the time of opening and settling. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

const twoTo32 = 0x1_0000_0000;

/** A whole number up to 2^53 - 1, as two halves: 71 ns cheaper than a BigInt. */
export function writeU64(view: DataView, at: number, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, 'a 64-bit field holds a whole number');
  view.setUint32(at, value % twoTo32, true);
  view.setUint32(at + 4, Math.floor(value / twoTo32), true);
}

/**
 * Counters on disk are whole numbers up to this, so that what is counted on from them can be written too. At a million a second
 * it is reached in 142 years; a block with a right checksum and more was made by somebody else.
 */
const counterMax: number = 2 ** 52;

/** True when every one of these is a number that a counter can have. */
export function areCounters(...values: readonly number[]): boolean {
  return values.every((value) => value <= counterMax);
}

/** Above 2^53 - 1 the result is inexact and not a safe integer: callers compare with sizes. */
export function readU64(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * twoTo32 + view.getUint32(at, true);
}
