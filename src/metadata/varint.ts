import { assert } from '../block/assert.ts';

/** Variable-length numbers up to 2^53 - 1: seven bits a byte, lowest first, the eighth says that another byte follows. */

/** Writes `value`; returns the place behind it. At most 8 bytes. */
export function writeVarint(bytes: Uint8Array, start: number, value: number): number {
  assert(Number.isSafeInteger(value) && value >= 0, 'a varint is a whole number');
  let at = start;
  let rest = value;
  while (rest >= 0x80) {
    bytes[at] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
    at += 1;
  }
  bytes[at] = rest;
  return at + 1;
}

/** As `writeVarint` for a number of either sign: the sign is the lowest bit. */
export function writeSigned(bytes: Uint8Array, start: number, value: number): number {
  return writeVarint(bytes, start, value < 0 ? -2 * value - 1 : 2 * value);
}

/** Undefined when the bytes end before the number does, or it is greater than 2^53 - 1. */
export function readVarint(bytes: Uint8Array, start: number): { value: number; next: number } | undefined {
  let value = 0;
  let unit = 1;
  for (let at = start; at < bytes.length && at < start + 8; at += 1) {
    const byte = bytes[at]!;
    value += (byte & 0x7f) * unit;
    if (byte < 0x80) return Number.isSafeInteger(value) ? { value, next: at + 1 } : undefined;
    unit *= 0x80;
  }
  return undefined;
}

export function readSigned(bytes: Uint8Array, start: number): { value: number; next: number } | undefined {
  const read = readVarint(bytes, start);
  if (read === undefined) return undefined;
  const { value, next } = read;
  return { value: value % 2 === 0 ? value / 2 : -(value + 1) / 2, next };
}
