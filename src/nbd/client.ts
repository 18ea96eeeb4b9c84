import { assert } from '../block/assert.ts';
import { errnoName } from '../block/errno.ts';
import { type ByteStream, StreamError } from '../io/byte-stream.ts';
import { type ChunkedReply, ChunkReader, type StatusDescriptor } from './chunk-reader.ts';
import { type RemoteExport, shakeHands } from './client-handshake.ts';
import { encodeRequest, NbdProtocolError, ReplyDecoder } from './codec.ts';
import { ChunkFlag, Command, CommandFlag, requestBytes } from './constants.ts';
import { ReadAssembly, type RemoteFailure } from './read-assembly.ts';
import { ReceiveBuffer } from './receive-buffer.ts';
import { StreamReader } from './stream-reader.ts';

/** The server answered a request with an error. */
export class NbdRequestError extends Error {
  override readonly name = 'NbdRequestError';
  /** The number from the wire: EPERM, EIO, EINVAL, ENOSPC, ESHUTDOWN, … */
  readonly errno: number;
  /** What of a read has failed, where the server told: all its other bytes are in the target. */
  readonly failures: readonly RemoteFailure[] | undefined;

  constructor(what: string, errno: number, failures?: readonly RemoteFailure[]) {
    super(`${what}: ${errnoName(errno)}`);
    this.errno = errno;
    this.failures = failures;
  }
}

interface PendingRequest extends ChunkedReply {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Flags of write-zeroes. */
export interface ZeroOptions {
  readonly fua?: boolean;
  readonly noHole?: boolean;
  readonly fast?: boolean;
}

const receiveBufferBytes = 64 * 1024;
const handshakeReplyBytesMax = 64 * 1024;
const commandNames = [
  'read',
  'write',
  'disconnect',
  'flush',
  'trim',
  'cache',
  'write-zeroes',
  'block-status',
];

/**
 * Connects to an export ("" is the default one). The stream belongs to the client from here on, and is closed when
 * this rejects: with `NbdProtocolError` when the server refuses or makes no sense, with `StreamError` when it is gone.
 */
export async function connectNbd(stream: ByteStream, exportName: string): Promise<NbdClient> {
  const reader = new StreamReader(stream, handshakeReplyBytesMax);
  try {
    const exported = await shakeHands(stream, reader, exportName);
    return new NbdClient(stream, exported, reader.rest);
  } catch (error) {
    await stream.close();
    throw error;
  }
}

/**
 * A client with structured replies where the server has them. Requests may be issued at any time, all at once: they are told
 * apart by their cookies.
 *
 * A request rejects with `NbdRequestError` when the server says so, and with `StreamError` or `NbdProtocolError` when the
 * connection ended before its reply.
 */
export class NbdClient {
  readonly exported: RemoteExport;
  readonly #stream: ByteStream;
  readonly #received: ReceiveBuffer;
  readonly #decoder: ReplyDecoder;
  readonly #chunks: ChunkReader;
  readonly #pending = new Map<number, PendingRequest>();
  readonly #replyLoop: Promise<void>;
  #unsent: Uint8Array[] = [];
  #sendLoop: Promise<void> | undefined;
  #nextCookie = 1;
  #failure: Error | undefined;

  /** Use `connectNbd`. `received` are bytes that came with the handshake. */
  constructor(stream: ByteStream, exported: RemoteExport, received: Uint8Array) {
    this.exported = exported;
    this.#stream = stream;
    this.#received = new ReceiveBuffer(stream, new Uint8Array(receiveBufferBytes));
    this.#received.preload(received);
    this.#decoder = new ReplyDecoder(exported.structuredReplies);
    this.#chunks = new ChunkReader(stream, this.#received, exported.allocationId);
    this.#replyLoop = this.#receiveReplies();
  }

  /**
   * Fills `target` from `offset`. In one piece where the server offers it: the NBD server of QEMU drops the connection for a
   * bad sector in the middle of a reply of several (seen with 7.2), and a lost connection is no bad sector.
   */
  read(target: Uint8Array, offset: number): Promise<void> {
    const flags = this.exported.onePiece ? CommandFlag.df : 0;
    return this.#request(Command.read, flags, offset, target.length, { target });
  }

  /** Stores `source` at `offset`; with `fua` it is durable when this resolves. `source` is lent until then. */
  write(source: Uint8Array, offset: number, options: { readonly fua?: boolean } = {}): Promise<void> {
    const flags = options.fua === true ? CommandFlag.fua : 0;
    return this.#request(Command.write, flags, offset, source.length, { payload: source });
  }

  /** All writes that were answered before the call are durable when this resolves. */
  flush(): Promise<void> {
    return this.#request(Command.flush, 0, 0, 0);
  }

  /** What the bytes are afterwards is undefined. */
  trim(offset: number, length: number): Promise<void> {
    return this.#request(Command.trim, 0, offset, length);
  }

  writeZeroes(offset: number, length: number, options: ZeroOptions = {}): Promise<void> {
    const flags =
      (options.fua === true ? CommandFlag.fua : 0) |
      (options.noHole === true ? CommandFlag.noHole : 0) |
      (options.fast === true ? CommandFlag.fastZero : 0);
    return this.#request(Command.writeZeroes, flags, offset, length);
  }

  /** `base:allocation` of a range from its start: at least one descriptor, not always all of the range, or more. */
  async allocation(offset: number, length: number): Promise<readonly StatusDescriptor[]> {
    const descriptors: StatusDescriptor[] = [];
    await this.#request(Command.blockStatus, 0, offset, length, { descriptors });
    return descriptors;
  }

  /** Says goodbye and waits until the server has answered everything and closed. Does not reject. */
  async disconnect(): Promise<void> {
    if (this.#failure === undefined) this.#enqueue(this.#header(Command.disconnect, 0, 0, 0, 0));
    await this.#replyLoop;
    await this.close();
  }

  /** Closes the connection at once; pending requests reject. Does not reject. */
  async close(): Promise<void> {
    await this.#stream.close();
    await this.#replyLoop;
    await this.#sendLoop;
  }

  #request(
    command: number,
    flags: number,
    offset: number,
    length: number,
    parts: {
      readonly target?: Uint8Array;
      readonly payload?: Uint8Array;
      readonly descriptors?: StatusDescriptor[];
    } = {},
  ): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const { target, payload, descriptors = [] } = parts;
    const cookie = this.#nextCookie;
    this.#nextCookie = (this.#nextCookie + 1) & 0x7fff_ffff;
    assert(!this.#pending.has(cookie), 'NbdClient: a cookie is in use twice');
    const assembly =
      this.exported.structuredReplies && target !== undefined ? new ReadAssembly(offset, length) : undefined;
    return new Promise((resolve, reject) => {
      this.#pending.set(cookie, {
        command,
        offset,
        target,
        assembly,
        descriptors,
        errno: 0,
        resolve,
        reject,
      });
      this.#enqueue(this.#header(command, flags, cookie, offset, length));
      if (payload !== undefined) this.#enqueue(payload);
    });
  }

  #header(command: number, flags: number, cookie: number, offset: number, length: number): Uint8Array {
    const header = new Uint8Array(requestBytes);
    encodeRequest(header, 0, flags, command, 0, cookie, offset, length);
    return header;
  }

  #enqueue(part: Uint8Array): void {
    this.#unsent.push(part);
    this.#sendLoop ??= this.#sendAll();
  }

  /** One send at a time; what is queued meanwhile goes with the next. */
  async #sendAll(): Promise<void> {
    // Requests that are issued in a row leave together.
    await Promise.resolve();
    try {
      while (this.#unsent.length > 0) {
        // One sendmsg takes 1024 parts.
        const parts = this.#unsent.splice(0, 1024);
        await this.#stream.send(parts);
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#sendLoop = undefined;
  }

  async #receiveReplies(): Promise<void> {
    const received = this.#received;
    try {
      for (;;) {
        if (this.#decoder.decode(received.bytes, received.start, received.end)) {
          received.start += this.#decoder.headerBytes;
          await this.#takeReply();
        } else if (!(await received.receive())) {
          throw new StreamError('STREAM_CLOSED', 'the NBD server has closed the connection');
        }
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  async #takeReply(): Promise<void> {
    const { isChunk, flags, errno, cookieLow } = this.#decoder;
    const request = this.#pending.get(cookieLow);
    if (request === undefined) throw new NbdProtocolError(`a reply with the unknown cookie ${cookieLow}`);
    if (isChunk) {
      await this.#chunks.take(this.#decoder, request);
      if ((flags & ChunkFlag.done) === 0) return;
    } else {
      request.errno = errno;
      if (errno === 0) await this.#takeSimpleData(request);
    }
    // Throws for a reply that claims more than it brought; the request is still pending then, and rejects with the others.
    const failures = failuresOf(request);
    this.#pending.delete(cookieLow);
    const what = `nbd ${commandNames[request.command]} at ${request.offset}`;
    if (request.errno !== 0) request.reject(new NbdRequestError(what, request.errno));
    else if (failures.length > 0) request.reject(new NbdRequestError(what, failures[0]!.errno, failures));
    else request.resolve();
  }

  async #takeSimpleData({ target }: PendingRequest): Promise<void> {
    if (target === undefined) return;
    // "MUST NOT use a simple reply for NBD_CMD_READ": nobody knows whether data follows.
    if (this.exported.structuredReplies) {
      throw new NbdProtocolError('a simple reply to a read, although structured replies were agreed on');
    }
    await this.#chunks.fill(target);
  }

  /** The connection is over: nobody will answer what is pending. */
  #fail(error: unknown): void {
    if (!(error instanceof StreamError) && !(error instanceof NbdProtocolError)) throw error;
    this.#failure ??= error;
    for (const request of this.#pending.values()) request.reject(this.#failure);
    this.#pending.clear();
    this.#unsent = [];
    void this.#stream.close();
  }
}

/** What of a good reply is missing. Throws `NbdProtocolError` when nothing explains it. */
function failuresOf({ command, errno, assembly, descriptors }: PendingRequest): readonly RemoteFailure[] {
  if (errno !== 0) return [];
  if (command === Command.blockStatus && descriptors.length === 0) {
    throw new NbdProtocolError('a good reply to a block status without a descriptor');
  }
  return assembly?.failures() ?? [];
}
