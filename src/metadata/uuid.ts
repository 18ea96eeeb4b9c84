import type { Random } from '../block/clock.ts';
import { uuidBytes } from './block-checksum.ts';

/** A random UUID, version 4 of RFC 9562. */
export function newUuid(random: Random): Uint8Array {
  const uuid = new Uint8Array(uuidBytes);
  random.fill(uuid);
  uuid[6] = (uuid[6]! & 0x0f) | 0x40;
  uuid[8] = (uuid[8]! & 0x3f) | 0x80;
  return uuid;
}

/** As people write it: 8-4-4-4-12 lower-case hexadecimal digits. */
export function uuidText(uuid: Uint8Array): string {
  const digits = hexText(uuid);
  return [8, 12, 16, 20, 32].map((end, index) => digits.slice([0, 8, 12, 16, 20][index], end)).join('-');
}

/** Two lower-case hexadecimal digits a byte. */
export function hexText(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** `length` bytes of hexadecimal text, dashes left out, zeroes where it ends early. */
export function bytesOfHex(text: string, length: number): Uint8Array {
  const digits = text.replaceAll('-', '').padEnd(2 * length, '0');
  return Uint8Array.from({ length }, (_, index) =>
    Number.parseInt(digits.slice(2 * index, 2 * index + 2), 16),
  );
}
