import { IoFlags } from '../block/block-device.ts';
import type { Random } from '../block/clock.ts';
import { type FlakeyFeatures, probabilityBase } from './flakey-features.ts';

/** One byte of a request that becomes another. */
export interface CorruptedByte {
  /** Bytes from the start of the request. */
  readonly at: number;
  readonly value: number;
}

/**
 * Bits of `bio->bi_opf` (linux/include/linux/blk_types.h) that requests here can have. Other bits are set on none, so
 * `corrupt_bio_byte` with one of them hits nothing.
 */
const requestBits = { write: 1, fua: 1 << 17, background: 1 << 20 } as const;

/** What the down interval does to the data of one request, in order: nothing, the set byte, a chance byte, or both. */
export function corruptedBytes(
  features: FlakeyFeatures,
  random: Random,
  direction: 'r' | 'w',
  length: number,
  flags: number,
): CorruptedByte[] {
  const corrupted: CorruptedByte[] = [];
  const { corruptByte } = features;
  if (corruptByte?.direction === direction && corruptByte.nthByte <= length) {
    const bits = requestBitsOf(direction, flags);
    // `>>> 0`, for bit 31 makes a number negative.
    const matches = (bits & corruptByte.flags) >>> 0 === corruptByte.flags;
    if (matches) corrupted.push({ at: corruptByte.nthByte - 1, value: corruptByte.value });
  }
  const probability = direction === 'r' ? features.randomReadCorrupt : features.randomWriteCorrupt;
  if (probability > 0 && below(random, probabilityBase) < probability) {
    corrupted.push({ at: below(random, length), value: random.u32() & 0xff });
  }
  return corrupted;
}

/** A copy with these bytes changed: the source is the client's (I9). */
export function corruptedCopy(source: Uint8Array, corrupted: readonly CorruptedByte[]): Uint8Array {
  const copy = source.slice();
  corrupt(copy, corrupted);
  return copy;
}

export function corrupt(bytes: Uint8Array, corrupted: readonly CorruptedByte[]): void {
  for (const { at, value } of corrupted) bytes[at] = value;
}

function requestBitsOf(direction: 'r' | 'w', flags: number): number {
  let bits = direction === 'w' ? requestBits.write : 0;
  if ((flags & IoFlags.fua) !== 0) bits |= requestBits.fua;
  if ((flags & IoFlags.background) !== 0) bits |= requestBits.background;
  return bits;
}

function below(random: Random, limit: number): number {
  return Math.floor((random.u32() / 2 ** 32) * limit);
}
