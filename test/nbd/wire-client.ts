import type { ByteStream } from '../../src/io/byte-stream.ts';

/** Bytes from hex digits; everything but digits is for the reader. */
export function bytesOf(hexText: string): Uint8Array {
  return new Uint8Array(Buffer.from(hexText.replaceAll(/[^0-9a-f]/g, ''), 'hex'));
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** `value` in big-endian hex of `byteCount` bytes: independent of the codec under test. */
export function field(value: number | bigint, byteCount: number): string {
  return BigInt(value)
    .toString(16)
    .padStart(byteCount * 2, '0');
}

/** A request header, and its payload. */
export function requestHex(
  command: number,
  cookie: number | bigint,
  offset: number | bigint,
  length: number,
  options: { readonly flags?: number; readonly payload?: Uint8Array } = {},
): string {
  return (
    `25609513${field(options.flags ?? 0, 2)}${field(command, 2)}${field(cookie, 8)}${field(offset, 8)}` +
    field(length, 4) +
    (options.payload === undefined ? '' : hexOf(options.payload))
  );
}

export function replyHex(cookie: number | bigint, errno = 0, data?: Uint8Array): string {
  return `67446698${field(errno, 4)}${field(cookie, 8)}${data === undefined ? '' : hexOf(data)}`;
}

/** Types of chunks of structured replies. */
export const chunk = { none: 0, data: 1, hole: 2, status: 5, error: 0x8001, errorOffset: 0x8002 } as const;

/** One chunk of a structured reply; the last one of a reply is `done`. */
export function chunkHex(cookie: number | bigint, type: number, payloadHex: string, done = true): string {
  return (
    `668e33ef${field(done ? 1 : 0, 2)}${field(type, 2)}${field(cookie, 8)}${field(payloadHex.length / 2, 4)}` +
    payloadHex
  );
}

export function dataChunkHex(cookie: number, offset: number, data: Uint8Array, done = true): string {
  return chunkHex(cookie, chunk.data, `${field(offset, 8)}${hexOf(data)}`, done);
}

/** Without a message: the connection says nothing but the number. */
export function errorChunkHex(cookie: number, errno: number): string {
  return chunkHex(cookie, chunk.error, `${field(errno, 4)}0000`);
}

export function errorOffsetHex(
  cookie: number,
  errno: number,
  offset: number,
  message: string,
  done = true,
): string {
  const text = textHex(message);
  return chunkHex(
    cookie,
    chunk.errorOffset,
    `${field(errno, 4)}${field(text.length / 2, 2)}${text}${field(offset, 8)}`,
    done,
  );
}

/** Descriptors of one context: pairs of bytes and flags. */
export function statusChunkHex(
  cookie: number,
  contextId: number,
  descriptors: readonly (readonly [length: number, flags: number])[],
  done = true,
): string {
  const words = descriptors.map(([length, flags]) => field(length, 4) + field(flags, 4)).join('');
  return chunkHex(cookie, chunk.status, field(contextId, 4) + words, done);
}

/** LIST_META_CONTEXT (9) or SET_META_CONTEXT (10). */
export function contextsHex(option: number, exportName: string, queries: readonly string[]): string {
  const texts = queries.map((query) => field(query.length, 4) + textHex(query)).join('');
  return optionHex(
    option,
    `${field(exportName.length, 4)}${textHex(exportName)}${field(queries.length, 4)}${texts}`,
  );
}

/** An option with its data in hex. */
export function optionHex(option: number, dataHex = ''): string {
  return `49484156454f5054${field(option, 4)}${field(dataHex.length / 2, 4)}${dataHex}`;
}

/** An option reply with its data in hex. */
export function optionReplyHex(option: number, type: number, dataHex = ''): string {
  return `0003e889045565a9${field(option, 4)}${field(type, 4)}${field(dataHex.length / 2, 4)}${dataHex}`;
}

export function textHex(text: string): string {
  return Buffer.from(text).toString('hex');
}

/** A client that knows nothing: it sends and expects bytes. */
export class WireClient {
  readonly stream: ByteStream;
  #received = new Uint8Array();

  constructor(stream: ByteStream) {
    this.stream = stream;
  }

  send(hexText: string): Promise<void> {
    return this.stream.send([bytesOf(hexText)]);
  }

  /** The next `count` bytes as hex; fewer when the server closed. */
  async receive(count: number): Promise<string> {
    while (this.#received.length < count) {
      const chunk = new Uint8Array(64 * 1024);
      const length = await this.stream.receive(chunk);
      if (length === 0) break;
      this.#received = new Uint8Array(Buffer.concat([this.#received, chunk.subarray(0, length)]));
    }
    const bytes = this.#received.slice(0, count);
    this.#received = this.#received.slice(count);
    return hexOf(bytes);
  }

  /** Everything until the server closes. */
  async receiveAll(): Promise<string> {
    return await this.receive(Number.MAX_SAFE_INTEGER);
  }

  async expect(hexText: string): Promise<void> {
    const expected = hexOf(bytesOf(hexText));
    const actual = await this.receive(expected.length / 2);
    if (actual !== expected) {
      throw new Error(`expected ${expected.slice(0, 400)}, received ${actual.slice(0, 400)}`);
    }
  }

  /** As `enterTransmission`, with structured replies and the contexts of these names. */
  async enterStructured(contexts: readonly string[] = []): Promise<void> {
    await this.receive(18);
    await this.send(`00000003${optionHex(8)}`);
    await this.expect(optionReplyHex(8, 1));
    if (contexts.length > 0) {
      await this.send(contextsHex(10, '', contexts));
      for (const name of contexts) await this.receive(20 + 4 + name.length);
      await this.expect(optionReplyHex(10, 1));
    }
    await this.send(optionHex(1));
    await this.receive(10);
  }

  /** Hello, client flags with NO_ZEROES, EXPORT_NAME of the default export. */
  async enterTransmission(): Promise<void> {
    await this.receive(18);
    await this.send(`00000003${optionHex(1)}`);
    await this.receive(10);
  }
}
