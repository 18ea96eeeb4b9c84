import { type ByteStream, StreamError } from '../io/byte-stream.ts';
import { descriptorBytes } from './chunk-codec.ts';
import { NbdProtocolError, type ReplyDecoder, readU16, readU32, readU64 } from './codec.ts';
import { ChunkType, Command } from './constants.ts';
import type { ReadAssembly } from './read-assembly.ts';
import type { ReceiveBuffer } from './receive-buffer.ts';

/** What BLOCK_STATUS said about a range. */
export interface StatusDescriptor {
  readonly length: number;
  readonly flags: number;
}

/** Descriptors of one reply that are kept; more are passed over, for a reply may cover less than was asked. */
export const descriptorsKeptMax = 4096;

/** "strings MUST be no longer than 4096 bytes", and what an error has besides. */
const errorBytesMax = 4096 + 64;

/** A request whose reply comes in chunks, and what has come of it. */
export interface ChunkedReply {
  readonly command: number;
  /** Of a read. */
  readonly target: Uint8Array | undefined;
  readonly offset: number;
  /** Of a read. */
  readonly assembly: ReadAssembly | undefined;
  /** Of BLOCK_STATUS. */
  readonly descriptors: StatusDescriptor[];
  /** Of the first error that is about the whole request. */
  errno: number;
}

/** Consumes the payloads of chunks. */
export class ChunkReader {
  readonly #stream: ByteStream;
  readonly #received: ReceiveBuffer;
  readonly #allocationId: number | undefined;

  constructor(stream: ByteStream, received: ReceiveBuffer, allocationId: number | undefined) {
    this.#stream = stream;
    this.#received = received;
    this.#allocationId = allocationId;
  }

  /** Takes the chunk whose header was decoded. Throws `NbdProtocolError`, `StreamError`. */
  async take(header: ReplyDecoder, reply: ChunkedReply): Promise<void> {
    const { type, length } = header;
    if (type >= 0x8000) await this.#takeError(type, length, reply);
    else if (type === ChunkType.none && length === 0) return;
    else if (type === ChunkType.offsetData && length > 8) await this.#takeData(length - 8, reply);
    else if (type === ChunkType.offsetHole && length === 12) await this.#takeHole(reply);
    else if (type === ChunkType.blockStatus && length >= 12 && length % descriptorBytes === 4) {
      await this.#takeStatus(length, reply);
    } else throw new NbdProtocolError(`a chunk of type ${type} with ${length} bytes`);
  }

  /** Fills `target` with the bytes that come next. */
  async fill(target: Uint8Array): Promise<void> {
    let at = this.#received.moveTo(target);
    while (at < target.length) {
      const count = await this.#stream.receive(target.subarray(at));
      if (count === 0) throw closedInReply();
      at += count;
    }
  }

  async #takeData(length: number, reply: ChunkedReply): Promise<void> {
    const { assembly, target } = readOf(reply);
    const offset = readU64(...(await this.#field(8)));
    // Checked before the first byte is stored.
    assembly.addContent(offset, length);
    const from = offset - reply.offset;
    await this.fill(target.subarray(from, from + length));
  }

  async #takeHole(reply: ChunkedReply): Promise<void> {
    const { assembly, target } = readOf(reply);
    const [bytes, at] = await this.#field(12);
    const offset = readU64(bytes, at);
    const length = readU32(bytes, at + 8);
    assembly.addContent(offset, length);
    target.fill(0, offset - reply.offset, offset - reply.offset + length);
  }

  async #takeStatus(length: number, reply: ChunkedReply): Promise<void> {
    if (reply.command !== Command.blockStatus) throw new NbdProtocolError('a block status nobody asked for');
    const contextId = readU32(...(await this.#field(4)));
    const isAsked = contextId === this.#allocationId;
    for (let left = length - 4; left > 0; left -= descriptorBytes) {
      const [bytes, at] = await this.#field(descriptorBytes);
      const descriptor = { length: readU32(bytes, at), flags: readU32(bytes, at + 4) };
      if (descriptor.length === 0) throw new NbdProtocolError('a block status of no bytes');
      if (isAsked && reply.descriptors.length < descriptorsKeptMax) reply.descriptors.push(descriptor);
    }
  }

  /** Unknown types of errors are errors of the whole request: "it MUST consider the current reply as errored". */
  async #takeError(type: number, length: number, reply: ChunkedReply): Promise<void> {
    if (length < 6 || length > errorBytesMax) throw new NbdProtocolError(`an error of ${length} bytes`);
    const [bytes, at] = await this.#field(length);
    const errno = readU32(bytes, at);
    const messageEnd = 6 + readU16(bytes, at + 4);
    const hasPlace = type === ChunkType.errorOffset && messageEnd + 8 === length;
    if (errno === 0 || messageEnd > length || (type === ChunkType.errorOffset && !hasPlace)) {
      throw new NbdProtocolError(`an error chunk of ${length} bytes whose fields do not fit`);
    }
    if (hasPlace && reply.assembly !== undefined)
      reply.assembly.addError(readU64(bytes, at + messageEnd), errno);
    else if (reply.errno === 0) reply.errno = errno;
  }

  /** Consumes the next `length` bytes, few, and tells where they are until the next call. */
  async #field(length: number): Promise<[bytes: Uint8Array, at: number]> {
    const received = this.#received;
    while (received.waiting < length) {
      if (!(await received.receive())) throw closedInReply();
    }
    received.start += length;
    return [received.bytes, received.start - length];
  }
}

function readOf({ assembly, target }: ChunkedReply): { assembly: ReadAssembly; target: Uint8Array } {
  if (assembly === undefined || target === undefined) {
    throw new NbdProtocolError('data in the reply to a request that reads nothing');
  }
  return { assembly, target };
}

function closedInReply(): StreamError {
  return new StreamError('STREAM_CLOSED', 'the NBD server closed in the middle of a reply');
}
