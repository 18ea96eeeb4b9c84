import type { SeededRandom } from '../../../src/simulator/seeded-random.ts';

/** Numbers at which something changes: signs, powers of two, sizes of blocks and disks, limits of JavaScript. */
const interesting: readonly bigint[] = [
  ...[0n, 1n, 2n, 3n, 4n, 7n, 8n, 15n, 16n, 31n, 32n, 47n, 48n, 63n, 64n, 83n, 84n, 127n, 128n, 255n, 256n],
  ...[511n, 512n, 513n, 1023n, 1024n, 4095n, 4096n, 4097n, 8192n, 16_383n, 16_384n, 65_535n, 65_536n],
  ...[2n ** 20n, 2n ** 21n, 3n * 2n ** 20n, 2n ** 26n, 2n ** 31n - 1n, 2n ** 31n, 2n ** 32n - 512n],
  ...[2n ** 32n - 1n, 2n ** 32n, 2n ** 44n - 1n, 2n ** 44n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 55n],
  ...[2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 512n, 2n ** 64n - 1n],
];
const widths = [1, 2, 4, 8] as const;
const stackedMax = 6;
const insertedBytesMax = 64;

export interface MutationSources {
  /** Another input that was worth keeping. */
  readonly other: Buffer;
  readonly words: readonly Buffer[];
  readonly bytesMax: number;
}

type Mutation = (random: SeededRandom, bytes: Buffer, sources: MutationSources) => Buffer;

/** A number of this width at a place, in either order of bytes. */
function withNumber(random: SeededRandom, bytes: Buffer, newValue: (old: bigint) => bigint): Buffer {
  const width = random.pick(widths);
  if (bytes.length < width) return bytes;
  const at = random.below(bytes.length - width + 1);
  const piece = bytes.subarray(at, at + width);
  const isLittle = random.chance(0.5);
  if (isLittle) piece.reverse();
  const value = BigInt.asUintN(8 * width, newValue(BigInt(`0x${piece.toString('hex')}`)));
  piece.write(value.toString(16).padStart(2 * width, '0'), 'hex');
  if (isLittle) piece.reverse();
  return bytes;
}

function inserted(random: SeededRandom, bytes: Buffer, piece: Buffer): Buffer {
  const at = random.below(bytes.length + 1);
  return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
}

function pieceOf(random: SeededRandom, bytes: Buffer): Buffer {
  const at = random.below(bytes.length + 1);
  const most = Math.min(bytes.length - at, random.chance(0.2) ? bytes.length : insertedBytesMax);
  return bytes.subarray(at, at + random.below(most + 1));
}

function fresh(random: SeededRandom): Buffer {
  const bytes = Buffer.alloc(1 + random.below(insertedBytesMax));
  random.fill(bytes);
  return bytes;
}

const mutations: readonly Mutation[] = [
  (random, bytes) => {
    if (bytes.length > 0) bytes[random.below(bytes.length)]! ^= 1 << random.below(8);
    return bytes;
  },
  (random, bytes) => {
    if (bytes.length > 0) bytes[random.below(bytes.length)] = random.below(256);
    return bytes;
  },
  (random, bytes) => withNumber(random, bytes, () => random.pick(interesting)),
  (random, bytes) => withNumber(random, bytes, () => random.pick(interesting)),
  (random, bytes) => withNumber(random, bytes, (old) => old + BigInt(random.below(9) - 4)),
  (random, bytes, { words }) =>
    words.length === 0 ? inserted(random, bytes, fresh(random)) : inserted(random, bytes, random.pick(words)),
  (random, bytes, { words }) => {
    if (words.length === 0) return bytes;
    const word = random.pick(words);
    const at = random.below(bytes.length + 1);
    return Buffer.concat([bytes.subarray(0, at), word, bytes.subarray(at + word.length)]);
  },
  (random, bytes) => inserted(random, bytes, Buffer.from(String(random.pick(interesting)))),
  (random, bytes) => inserted(random, bytes, pieceOf(random, bytes)),
  (random, bytes) => inserted(random, bytes, fresh(random)),
  (random, bytes) => {
    const at = random.below(bytes.length + 1);
    const gone = random.below(Math.min(bytes.length - at, insertedBytesMax) + 1);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + gone)]);
  },
  (random, bytes) => (random.chance(0.3) ? bytes.subarray(0, random.below(bytes.length + 1)) : bytes),
  (random, bytes, { other }) =>
    Buffer.concat([
      bytes.subarray(0, random.below(bytes.length + 1)),
      other.subarray(random.below(other.length + 1)),
    ]),
  (random, bytes, { other }) => inserted(random, bytes, pieceOf(random, other)),
];

/** `input` after one to six things were done to it. */
export function mutateBytes(random: SeededRandom, input: Buffer, sources: MutationSources): Buffer {
  let bytes: Buffer = Buffer.from(input);
  const count = random.chance(0.5) ? 1 : 1 + random.below(stackedMax);
  for (let done = 0; done < count; done += 1) {
    // A piece of another input must not be changed in place.
    bytes = Buffer.from(random.pick(mutations)(random, bytes, sources));
  }
  return bytes.subarray(0, sources.bytesMax);
}
