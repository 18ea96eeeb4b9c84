import type { SeededRandom } from '../../../src/simulator/seeded-random.ts';

/** A number in a message, big-endian. Bytes. */
export interface Field {
  readonly at: number;
  readonly length: number;
}

/** What a client sends at once. Written from the protocol's own page, not with the codec under test. */
export interface Message {
  readonly what: string;
  readonly bytes: Buffer;
  readonly fields: readonly Field[];
}

/** What conversations are about. */
export interface ExportFacts {
  readonly name: string;
  readonly readOnly: boolean;
  readonly sizeBytes: number;
}

export const optionMagic = 0x49484156454f5054n;
export const requestMagic = 0x25609513;

export const Code = {
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
} as const;

export const Command = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
  blockStatus: 7,
} as const;

export const Flag = { fua: 1, noHole: 2, df: 4, reqOne: 8, fastZero: 16 } as const;

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}

export function bytesFrom(random: SeededRandom, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  random.fill(bytes);
  return bytes;
}

function clientFlags(flags: number): Message {
  return { what: 'client flags', bytes: u32(flags), fields: [{ at: 0, length: 4 }] };
}

function option(code: number, data: Buffer, inner: readonly Field[] = []): Message {
  return {
    what: `option ${code}`,
    bytes: Buffer.concat([u64(optionMagic), u32(code), u32(data.length), data]),
    fields: [
      { at: 0, length: 8 },
      { at: 8, length: 4 },
      { at: 12, length: 4 },
      ...inner.map(({ at, length }) => ({ at: 16 + at, length })),
    ],
  };
}

/** INFO or GO: name length, name, count, types. */
function inform(code: number, name: string, types: readonly number[]): Message {
  const data = Buffer.concat([
    u32(Buffer.byteLength(name)),
    Buffer.from(name),
    u16(types.length),
    ...types.map(u16),
  ]);
  const countAt = 4 + Buffer.byteLength(name);
  return option(code, data, [
    { at: 0, length: 4 },
    { at: countAt, length: 2 },
  ]);
}

function metaContexts(code: number, name: string, queries: readonly string[]): Message {
  const parts = queries.flatMap((query) => [u32(Buffer.byteLength(query)), Buffer.from(query)]);
  const countAt = 4 + Buffer.byteLength(name);
  return option(
    code,
    Buffer.concat([u32(Buffer.byteLength(name)), Buffer.from(name), u32(queries.length), ...parts]),
    [
      { at: 0, length: 4 },
      { at: countAt, length: 4 },
    ],
  );
}

export function request(
  command: number,
  cookie: bigint,
  offset: number,
  length: number,
  more: { readonly flags?: number; readonly payload?: Buffer } = {},
): Message {
  const header = [u32(requestMagic), u16(more.flags ?? 0), u16(command), u64(cookie)];
  return {
    what: `command ${command}`,
    bytes: Buffer.concat([...header, u64(BigInt(offset)), u32(length), more.payload ?? Buffer.alloc(0)]),
    fields: [
      { at: 0, length: 4 },
      { at: 4, length: 2 },
      { at: 6, length: 2 },
      { at: 8, length: 8 },
      { at: 16, length: 8 },
      { at: 24, length: 4 },
    ],
  };
}

const blockBytes = 512;
/** Above the fixture's limit for payloads that are received in place. */
const longBlocks = 12;

/** A handshake that ends in the transmission phase, with some detours. */
export function handshake(random: SeededRandom, exports: readonly ExportFacts[]): Message[] {
  const name = random.chance(0.3) ? '' : random.pick(exports).name;
  if (random.chance(0.15)) return [clientFlags(random.below(4)), option(Code.exportName, Buffer.from(name))];
  const detours: Message[] = [
    option(Code.list, Buffer.alloc(0)),
    inform(Code.info, name, [random.below(5)]),
    option(Code.startTls, Buffer.alloc(0)),
    metaContexts(Code.listMetaContext, name, []),
    option(random.below(2 ** 32), bytesFrom(random, random.below(40))),
    inform(Code.go, 'unknown', []),
  ];
  const messages = [clientFlags(3)];
  while (random.chance(0.4)) messages.push(random.pick(detours));
  if (random.chance(0.5)) {
    messages.push(option(Code.structuredReply, Buffer.alloc(0)));
    if (random.chance(0.5)) messages.push(metaContexts(Code.setMetaContext, name, ['base:allocation']));
  }
  messages.push(inform(Code.go, name, random.chance(0.7) ? [3] : []));
  return messages;
}

/** A request that a good client might send. */
export function goodRequest(random: SeededRandom, cookie: bigint, sizeBytes: number): Message {
  const blocks = 1 + random.below(random.chance(0.1) ? longBlocks : 4);
  const length = blocks * blockBytes;
  const offset = random.below((sizeBytes - length) / blockBytes) * blockBytes;
  const fua = random.chance(0.2) ? Flag.fua : 0;
  switch (random.below(10)) {
    case 0:
    case 1:
    case 2:
      return request(Command.read, cookie, offset, length, { flags: fua });
    case 3:
    case 4:
    case 5:
      return request(Command.write, cookie, offset, length, {
        flags: fua,
        payload: bytesFrom(random, length),
      });
    case 6:
      return request(Command.flush, cookie, 0, 0);
    case 7:
      return request(Command.trim, cookie, offset, length, { flags: fua });
    case 8:
      return request(Command.writeZeroes, cookie, offset, length, { flags: fua });
    default:
      return request(random.chance(0.5) ? Command.cache : Command.blockStatus, cookie, offset, length);
  }
}

/** A whole conversation as a good client has it; DISC at the end or not. */
export function goodConversation(
  random: SeededRandom,
  exports: readonly ExportFacts[],
  requests: number,
): Message[] {
  const messages = handshake(random, exports);
  const sizeBytes = Math.min(...exports.map((each) => each.sizeBytes));
  for (let count = 0; count < requests; count += 1) {
    messages.push(goodRequest(random, BigInt(random.u32()) * 2n ** 32n + BigInt(count), sizeBytes));
  }
  if (random.chance(0.3)) messages.push(request(Command.disconnect, 0n, 0, 0));
  return messages;
}
