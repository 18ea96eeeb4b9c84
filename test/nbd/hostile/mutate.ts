import type { SeededRandom } from '../../../src/simulator/seeded-random.ts';
import { bytesFrom, type Field, type Message } from './conversation.ts';

/** Numbers at which something changes: signs, powers of two, magic numbers, the sizes of the fixture's disks. */
const interesting: readonly bigint[] = [
  ...[0n, 1n, 2n, 3n, 4n, 7n, 8n, 16n, 255n, 511n, 512n, 513n, 1023n, 4096n, 8192n, 8193n, 65_535n, 65_536n],
  ...[
    2n ** 18n - 512n,
    2n ** 18n,
    2n ** 18n + 512n,
    2n ** 20n,
    2n ** 20n + 1n,
    2n ** 22n,
    2n ** 25n,
    2n ** 26n,
  ],
  ...[
    2n ** 31n - 1n,
    2n ** 31n,
    2n ** 32n - 512n,
    2n ** 32n - 1n,
    2n ** 53n - 1n,
    2n ** 53n,
    2n ** 63n,
    2n ** 64n - 1n,
  ],
  ...[0x25609513n, 0x67446698n, 0x4e42444d41474943n, 0x49484156454f5054n],
];

const mutations = {
  field: 8,
  bit: 3,
  truncate: 1,
  extend: 1,
  garbage: 1,
  splice: 1,
  repeat: 1,
  shift: 1,
} as const;
type Mutation = keyof typeof mutations;
const weighted: readonly Mutation[] = (Object.keys(mutations) as Mutation[]).flatMap((name) =>
  Array.from({ length: mutations[name] }, () => name),
);

/** The bytes of `message` after one thing was done to them. `other` is another message of a client. */
export function mutated(random: SeededRandom, message: Message, other: Message): Buffer {
  const bytes = Buffer.from(message.bytes);
  switch (random.pick(weighted)) {
    case 'field':
      return setField(random, bytes, pickField(random, message));
    case 'bit': {
      // Mostly in what is looked at, not in the payload.
      const at = random.below(Math.min(bytes.length, 64));
      bytes[at]! ^= 1 << random.below(8);
      return bytes;
    }
    case 'truncate':
      return bytes.subarray(0, random.below(bytes.length));
    case 'extend':
      return Buffer.concat([bytes, bytesFrom(random, 1 + random.below(64))]);
    case 'garbage':
      return bytesFrom(random, 1 + random.below(200));
    case 'splice':
      return Buffer.concat([
        bytes.subarray(0, random.below(bytes.length)),
        other.bytes.subarray(random.below(other.bytes.length)),
      ]);
    case 'repeat':
      return Buffer.concat([bytes, bytes]);
    case 'shift':
      return Buffer.concat([bytesFrom(random, 1), bytes.subarray(1), bytesFrom(random, 1)]);
  }
}

/** The magic comes first, and is left alone mostly: behind a wrong one nothing is looked at. */
function pickField(random: SeededRandom, { fields }: Message): Field {
  const [first, ...others] = fields;
  return others.length === 0 || random.chance(0.03) ? first! : random.pick(others);
}

function setField(random: SeededRandom, bytes: Buffer, { at, length }: Field): Buffer {
  const limit = 2n ** BigInt(8 * length);
  const old = BigInt(`0x${bytes.subarray(at, at + length).toString('hex')}`);
  // A cookie that two requests share could not be judged, and is one of 2^64 numbers to the server.
  if (at === 8 && length === 8) {
    bytes.set(bytesFrom(random, 8), at);
    return bytes;
  }
  const value = random.chance(0.3) ? old + BigInt(random.below(5) - 2) : random.pick(interesting);
  const digits = (((value % limit) + limit) % limit).toString(16).padStart(2 * length, '0');
  bytes.set(Buffer.from(digits, 'hex'), at);
  return bytes;
}
